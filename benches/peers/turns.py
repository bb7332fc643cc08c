"""CPU time for each request, proxy by proxy in turns of a second or two, so that a slow spell meets each of them."""

import glob
import json
import re
import subprocess
import sys
import time
from pathlib import Path

from rig import family

RATE, STEADY_CONNECTIONS = 8000, 32


class Case:
    """`tuned`, `relay`: whether larger buffers, and the bare relay, say something about it. `load`: who asks."""

    def __init__(self, path, connections, further=(), tuned=False, relay=True, load="wrk"):
        self.path, self.connections, self.further, self.load = path, connections, list(further), load
        self.left_out = [] if tuned else ["nginx-tuned", "haproxy-tuned"]
        self.left_out += [] if relay else ["relay"]


CASES = {
    "1k": Case("/1k", 64),
    "64k": Case("/64k", 32, tuned=True),
    "10m": Case("/10m", 8, tuned=True),
    "post": Case("/read", 64, ["-s", "post.lua"]),
    "chunked": Case("/chunked", 32, tuned=True),
    # The relay would open two connections where a proxy opens one: no floor.
    "close": Case("/1k", 64, ["-H", "Connection: close"], relay=False),
    "h2": Case("/1k", 4, ["-m32"], relay=False, load="h2load"),
    "tls": Case("/1k", 64, relay=False, load="wrk-tls"),
    "handshake": Case("/1k", 1, relay=False, load="s_time"),
}
TITLES = {
    "1k": "1 KB GET, kept connections",
    "64k": "64 KB GET",
    "10m": "10 MB GET",
    "post": "16 KB POST",
    "chunked": "64 KB GET, chunked",
    "close": "1 KB GET, a new connection each",
    "h2": "1 KB GET, HTTP/2, 4 x 32 streams",
    "tls": "1 KB GET, TLS, kept connections",
    "handshake": "1 KB GET, a full TLS handshake each",
    "steady": f"1 KB GET, {RATE} a second",
    "two": "1 KB GET, 2 workers on 2 cores",
}


def one_worker(rig, cases):
    """`{case: {proxy: [turn]}}` of those cases: one worker on one core, load and origin on another."""
    proxies = [rig.start_proxy(name) for name in rig.options.only]
    results = {}
    for name in [name for name in CASES if name in cases]:
        case = CASES[name]
        taking_part = [proxy for proxy in proxies if proxy.name not in case.left_out]
        results[name] = rounds(rig, name, taking_part, lambda proxy: LOADS[case.load](rig, proxy, case))
    if "steady" in cases:
        taking_part = [proxy for proxy in proxies if not proxy.name.endswith("-tuned")]
        results["steady"] = rounds(rig, "steady", taking_part, lambda proxy: steady(rig, proxy))
    rig.stop([proxy.child for proxy in proxies])
    return results


def two_workers(rig, names):
    """`{proxy: [turn]}` and `{"proxy, 1 worker": [turn]}`: all processes, client and origin too, share two cores."""
    proxies = []
    for name in names:
        for workers in [2, 1]:
            proxy = rig.start_proxy(name, workers, rig.both_cores)
            proxy.name = name if workers == 2 else f"{name}, 1 worker"
            proxies.append(proxy)
    results = rounds(rig, "two", proxies, lambda proxy: wrk(rig, proxy, CASES["1k"], rig.both_cores, threads=2))
    rig.stop([proxy.child for proxy in proxies])
    return results


def rounds(rig, what, proxies, measure):
    turns = {proxy.name: [] for proxy in proxies}
    for number in range(rig.options.rounds):
        first = number % len(proxies)
        for proxy in proxies[first:] + proxies[:first]:
            turns[proxy.name].append(measure(proxy))
            proxy.forget_log()
        print(f"{what}: round {number + 1} of {rig.options.rounds}", file=sys.stderr)
    return turns


def wrk(rig, proxy, case, cores=None, threads=1, url=None):
    """One turn: as much as the client can ask for."""
    cores, url = rig.load_core if cores is None else cores, url or proxy.url(case.path)
    command = ["wrk", f"-t{threads}", f"-c{case.connections}", f"-d{rig.options.seconds}s", "--timeout", "10s"]
    turn, said = timed(rig, proxy, cores, [*command, *case.further, url])
    requests = int(re.search(r"(\d+) requests in", said)[1])
    bad = re.search(r"Non-2xx.*|Socket errors:.*", said)
    if not requests or (bad and not re.search(r"connect 0, read \d+, write 0, timeout 0", bad[0])):
        sys.exit(f"{case.path}, {proxy.name}: {bad[0] if bad else 'no answers'}\n{said}")
    turn["read_errors"] = int(re.search(r"read (\d+)", bad[0])[1]) if bad else 0
    return per_request(turn, requests)


def h2load(rig, proxy, case):
    """The same, over HTTP/2 by prior knowledge."""
    command = ["h2load", "-t1", f"-c{case.connections}", f"-D{rig.options.seconds}", *case.further]
    turn, said = timed(rig, proxy, rig.load_core, [*command, f"http://127.0.0.1:{proxy.h2}{case.path}"])
    asked, good = (int(re.search(rf"(\d+) {word}", said)[1]) for word in ["done", "2xx"])
    if not good or good < asked:
        sys.exit(f"{case.path}, {proxy.name}: {said}")
    return per_request(turn, good)


def s_time(rig, proxy, case):
    """One connection after the other, each with a session of its own."""
    command = ["openssl", "s_time", "-new", "-time", rig.options.seconds, "-www", case.path]
    turn, said = timed(rig, proxy, rig.load_core, [*map(str, command), "-connect", f"127.0.0.1:{proxy.tls}"])
    connections, length = re.search(r"(\d+) connections in \d+ real seconds, (\d+) bytes", said).groups()
    if int(length) < 1024:
        sys.exit(f"{case.path}, {proxy.name}: {said}")
    return per_request(turn, int(connections))


LOADS = {
    "wrk": wrk,
    "wrk-tls": lambda rig, proxy, case: wrk(rig, proxy, case, url=f"https://127.0.0.1:{proxy.tls}{case.path}"),
    "h2load": h2load,
    "s_time": s_time,
}


def steady(rig, proxy):
    """One turn: a fixed rate, and how late the answers were."""
    command = [rig.dir / "steady", proxy.port, "/1k", STEADY_CONNECTIONS, RATE, rig.options.seconds]
    turn, said = timed(rig, proxy, rig.load_core, map(str, command))
    turn |= json.loads(said)
    return per_request(turn, turn.pop("answers"))


def timed(rig, proxy, cores, command):
    """Runs the load; what it cost the proxy, and what the load said."""
    idle, cpu, clock = idle_seconds(rig.load_core), cpu_seconds(proxy.child.pid), time.monotonic()
    done = subprocess.run(["taskset", "-c", str(cores), *command], cwd=rig.dir, text=True, capture_output=True)
    clock, cpu = time.monotonic() - clock, cpu_seconds(proxy.child.pid) - cpu
    idle = idle_seconds(rig.load_core) - idle
    if done.returncode:
        sys.exit(f"{proxy.name}: {done.stderr or done.stdout}")
    return {"cpu": cpu, "clock": clock, "busy": cpu / clock, "load_busy": 1 - min(idle / clock, 1)}, done.stdout


def per_request(turn, requests):
    cpu, clock = turn.pop("cpu"), turn.pop("clock")
    return {"cost": cpu / requests * 1e6, "rate": requests / clock} | turn


def cpu_seconds(pid):
    """CPU time of a process, its threads and its children, the kernel's work for them included."""
    tasks = [task for member in family(pid) for task in glob.glob(f"/proc/{member}/task/*/schedstat")]
    return sum(int(Path(task).read_text().split()[0]) for task in tasks) / 1e9


def idle_seconds(core):
    """How long a core has had nothing to do."""
    fields = re.search(rf"^cpu{core} (.*)", Path("/proc/stat").read_text(), re.M)[1].split()
    return (int(fields[3]) + int(fields[4])) / 100
