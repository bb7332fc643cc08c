#!/usr/bin/python3
"""A gRPC server, and clients that call it, with Debian's python3-grpcio: what real peers say through causeway.

    app.py serve                             prints its port and answers until its standard input ends
    app.py call HOST:PORT [CA]               calls all it knows; exit code 1 and a line for each promise that does not hold
    app.py fails HOST:PORT METHOD BYTES S    prints the status that this call ends with, and what is said of it
    app.py cut HOST:PORT                     prints a line when a stream has begun, and the status that ends it
    app.py load HOST:PORT CALLS              calls that may be sent again, eight at once; prints each status that is not OK

Messages are plain bytes: no generated code, nothing to build.
"""

import sys
import threading
import time
from concurrent import futures

import grpc

SERVICE = "causeway.test.Shapes"
METHODS = {"Echo": "unary_unary", "Count": "unary_stream", "Sum": "stream_unary", "Chat": "stream_stream",
           "Slow": "unary_unary", "Fail": "unary_unary", "Wait": "unary_unary", "Tick": "unary_stream",
           "Enough": "stream_unary"}
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class App:
    """Each method as a shape of its own. `Fail` ends with a status and trailers; `Wait` says whether its call was cancelled."""

    def __init__(self):
        self.cancelled = 0

    def echo(self, request, context):
        said = dict(context.invocation_metadata())
        context.send_initial_metadata((("x-begin", "a"),))
        context.set_trailing_metadata((("x-end", said.get("x-asked", "none")), ("x-end-bin", said.get("x-asked-bin", b""))))
        return request

    def count(self, request, context):
        for number in range(int(request)):
            yield b"%d" % number

    def sum(self, requests, context):
        return b"%d" % sum(int(one) for one in requests)

    def enough(self, requests, context):
        """Answers while the client still sends."""
        next(requests)
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")

    def chat(self, requests, context):
        for one in requests:
            yield one.upper()

    def slow(self, request, context):
        time.sleep(float(request))
        return b"late: %.1f" % (context.time_remaining() or -1)

    def fail(self, request, context):
        context.set_trailing_metadata((("x-why", "because"),))
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: \u00e9 100%")

    def wait(self, request, context):
        if request == b"asked":
            return b"%d" % self.cancelled
        ended = threading.Event()
        context.add_callback(ended.set)
        if ended.wait(timeout=20) and not context.is_active():
            self.cancelled += 1
        return b""

    def tick(self, request, context):
        while context.is_active():
            yield b"tick"
            time.sleep(0.01)


def serve():
    app = App()
    handlers = {name: getattr(grpc, f"{shape}_rpc_method_handler")(getattr(app, name.lower()))
                for name, shape in METHODS.items()}
    # grpc.health.v1.HealthCheckResponse: status = SERVING.
    health = {"Check": grpc.unary_unary_rpc_method_handler(lambda request, context: b"\x08\x01")}
    server = grpc.server(futures.ThreadPoolExecutor(16), options=UNLIMITED + [("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),
                                     grpc.method_handlers_generic_handler("grpc.health.v1.Health", health)))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    sys.stdin.read()
    server.stop(0).wait()


class Calls:
    def __init__(self, target, ca=None):
        options = UNLIMITED + [("grpc.enable_retries", 0), ("grpc.enable_http_proxy", 0)]
        if ca:
            with open(ca, "rb") as file:
                credentials = grpc.ssl_channel_credentials(file.read())
            self.channel = grpc.secure_channel(target, credentials, options)
        else:
            self.channel = grpc.insecure_channel(target, options)
        self.broken = []

    def method(self, name):
        return getattr(self.channel, METHODS[name])(f"/{SERVICE}/{name}")

    def hold(self, what, promise):
        if not promise:
            self.broken.append(what)

    def refused(self, name, request, timeout=20):
        """The error that this call ends with."""
        try:
            answer = self.method(name)(request, timeout=timeout)
            for _ in answer if METHODS[name].endswith("stream") else ():
                pass
        except grpc.RpcError as error:
            return error
        self.broken.append(f"{name} was to fail")
        return None

    def end(self):
        self.channel.close()
        for what in self.broken:
            print(what)
        sys.exit(1 if self.broken else 0)


def call(target, ca=None):
    calls = Calls(target, ca)
    metadata = (("x-asked", "yes"), ("x-asked-bin", b"\x00\xff\r\n"))
    answer, done = calls.method("Echo").with_call(b"hello", timeout=20, metadata=metadata)
    calls.hold("a call is answered", answer == b"hello")
    calls.hold("metadata goes before the answer", ("x-begin", "a") in done.initial_metadata())
    trailers = dict(done.trailing_metadata())
    calls.hold(f"trailers arrive, what was asked with too: {trailers}", trailers.get("x-end") == "yes")
    calls.hold(f"binary trailers arrive: {trailers}", trailers.get("x-end-bin") == b"\x00\xff\r\n")
    large = bytes(range(256)) * 8192  # 2 MiB: more than every window on the way
    calls.hold("large messages pass both ways", calls.method("Echo")(large, timeout=20) == large)
    calls.hold("an empty one too", calls.method("Echo")(b"", timeout=20) == b"")
    calls.hold("a server streams", list(calls.method("Count")(b"500", timeout=20)) == [b"%d" % n for n in range(500)])
    calls.hold("a stream may be empty", list(calls.method("Count")(b"0", timeout=20)) == [])
    calls.hold("a client streams", calls.method("Sum")(iter([b"1", b"2", b"39"]), timeout=20) == b"42")
    chat(calls)
    error = calls.refused("Fail", b"")
    calls.hold(f"a status passes: {error}", error and error.code() == grpc.StatusCode.NOT_FOUND)
    calls.hold("its message too", error and error.details() == "no such thing: \u00e9 100%")
    calls.hold("and its trailers", error and ("x-why", "because") in error.trailing_metadata())
    error = calls.refused("Enough", (b"x" * 1000 for _ in range(100_000)))
    calls.hold(f"a status may come early: {error}", error and error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED)
    for _ in range(5):
        error = calls.refused("Slow", b"0.5", timeout=0.1)
        calls.hold(f"a deadline is kept: {error}", error and error.code() == grpc.StatusCode.DEADLINE_EXCEEDED)
        error = calls.refused("Tick", b"", timeout=0.1)
        calls.hold(f"of a stream too: {error}", error and error.code() == grpc.StatusCode.DEADLINE_EXCEEDED)
    remaining = calls.method("Slow")(b"0", timeout=30)
    calls.hold(f"the server knows the deadline: {remaining}", 0 < float(remaining.split()[-1]) < 31)
    cancel(calls)
    many = [calls.method("Echo").future(b"%d" % n, timeout=20) for n in range(200)]
    calls.hold("two hundred at once", [one.result() for one in many] == [b"%d" % n for n in range(200)])
    calls.end()


def chat(calls):
    """Each answer must be here before the next question is asked: nothing may wait for the end of a stream."""
    answers, questions = [], ["a", "b", "c"]

    def asked():
        for number, question in enumerate(questions):
            until = time.monotonic() + 10
            while len(answers) < number and time.monotonic() < until:
                time.sleep(0.005)
            yield question.encode()

    began = time.monotonic()
    for answer in calls.method("Chat")(asked(), timeout=20):
        answers.append(answer)
    calls.hold(f"both stream, in turn: {answers}", answers == [b"A", b"B", b"C"] and time.monotonic() - began < 8)


def cancel(calls):
    """A call that the client gives up ends at the server too."""
    before = int(calls.method("Wait")(b"asked", timeout=20))
    waiting = calls.method("Wait").future(b"", timeout=20)
    time.sleep(0.3)
    waiting.cancel()
    until = time.monotonic() + 5
    while time.monotonic() < until and int(calls.method("Wait")(b"asked", timeout=20)) == before:
        time.sleep(0.02)
    calls.hold("a cancelled call is cancelled at the server",
               int(calls.method("Wait")(b"asked", timeout=20)) == before + 1)


def fails(target, name, request, timeout):
    calls = Calls(target)
    error = calls.refused(name, request.encode(), float(timeout))
    if error:
        print(error.code().name, error.details(), dict(error.trailing_metadata() or ()))
    calls.end()


def cut(target):
    calls = Calls(target)
    try:
        for number, _ in enumerate(calls.method("Tick")(b"", timeout=60)):
            if number == 3:
                print("streaming", flush=True)
        print("a clean end")
    except grpc.RpcError as error:
        print(error.code().name, error.details())
    calls.end()


def load(target, count):
    calls, echo = Calls(target), None
    echo = calls.method("Echo")

    def one(number):
        if number == 100:
            print("under way", flush=True)
        try:
            said = b"%d" % number
            if echo(said, timeout=20, metadata=(("idempotency-key", str(number)),)) != said:
                print("another answer")
        except grpc.RpcError as error:
            print(error.code().name, error.details())

    with futures.ThreadPoolExecutor(8) as workers:
        list(workers.map(one, range(int(count))))
    calls.end()


if __name__ == "__main__":
    {"serve": serve, "call": call, "fails": fails, "cut": cut, "load": load}[sys.argv[1]](*sys.argv[2:])
