"""What connections cost while nothing moves on them, and how they spread over the workers. Looked at from outside."""

import glob
import re
import socket
import statistics
import sys
import time
from pathlib import Path

from rig import family

IDLE, STALLED, SETTLE = 9000, 40, 3.0
SPREAD_EACH, SPREAD_WORKERS, SPREAD_TRIALS = 64, [2, 4], 5


def idle_connections(rig):
    """How many the limit of open files allows: HAProxy counts two for each."""
    return min(IDLE, (rig.files // 2 - 150) * 15 // 16)


def room_for(count):
    """nginx ends idle connections when less than a sixteenth of its own are left."""
    return count * 16 // 15 + 100


def measure(rig, name):
    """KiB at the start, for each idle connection, for each stalled download; and how many idle ones still worked."""
    count = idle_connections(rig)
    if count < 100:
        sys.exit(f"the limit of open files is {rig.files}: too low for idle connections")
    proxy = rig.start_proxy(name, connections=room_for(count))
    time.sleep(1)
    empty = pss(proxy)
    clients = connect_and_ask(proxy, count)
    time.sleep(SETTLE)
    idle = (pss(proxy) - empty) / count
    sample = clients[:: max(count // 300, 1)]
    alive = sum(1 for client in sample if lives(client))
    for client in clients:
        client.close()
    rig.stop([proxy.child])

    proxy = rig.start_proxy(name)
    time.sleep(1)
    before = pss(proxy)
    clients = [connect(proxy, 64 << 10) for _ in range(STALLED)]
    for client in clients:
        client.sendall(head("/10m"))
    time.sleep(SETTLE)
    stalled = (pss(proxy) - before) / STALLED
    for client in clients:
        client.close()
    rig.stop([proxy.child])
    print(f"{name}: memory", file=sys.stderr)
    return {"start": empty, "idle": idle, "connections": count, "stalled": stalled,
            "alive": alive, "asked_again": len(sample)}


def spread(rig, name, workers):
    """Connections on the busiest worker, as a multiple of the mean: one number for each of some trials."""
    proxy = rig.start_proxy(name, workers, rig.both_cores)
    worst = []
    for _ in range(SPREAD_TRIALS):
        clients = connect_and_ask(proxy, SPREAD_EACH * workers)
        counts = connections_by_epoll(proxy)
        if sum(counts) != len(clients):
            sys.exit(f"{name}: {len(clients)} connections, of which its epoll instances hold {counts}")
        worst.append(max(counts) / SPREAD_EACH)
        for client in clients:
            client.close()
        time.sleep(0.2)
    rig.stop([proxy.child])
    return {"median": statistics.median(worst), "worst": max(worst), "all": worst}


def pss(proxy):
    """KiB: its share of what its processes hold, shared pages divided among those who share them."""
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in family(proxy.child.pid)]
    return sum(int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1]) for text in rollups)


def connections_by_epoll(proxy):
    """Each worker waits on an epoll instance of its own; how many of the proxy's client connections are on each."""
    port = f"{proxy.port:04X}"
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {row[9] for row in rows if row[1].endswith(f":{port}") and row[3] == "01"}
    workers = set()
    for pid in family(proxy.child.pid):
        files = {fd.name: str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()}
        clients = {fd for fd, file in files.items() if file.startswith("socket:[") and file[8:-1] in inodes}
        for fd, file in files.items():
            if file == "anon_inode:[eventpoll]":
                watched = re.findall(r"^tfd:\s+(\d+)", Path(f"/proc/{pid}/fdinfo/{fd}").read_text(), re.M)
                workers.add((pid, frozenset(clients.intersection(watched))))  # a duplicated fd says the same again
    return [len(held) for _, held in workers if held]


def connect_and_ask(proxy, count):
    """So many connections, open at the same time, after one request each."""
    clients = [connect(proxy) for _ in range(count)]
    try:
        for client in clients:
            ask(client, "/1k")
    except OSError as error:
        sys.exit(f"{proxy.name}, {count} connections: {error}")
    return clients


def connect(proxy, receive_buffer=None):
    client = socket.socket()
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(10)
    client.connect(("127.0.0.1", proxy.port))
    return client


def head(path):
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def ask(client, path):
    """One request, and its whole answer."""
    client.sendall(head(path))
    said = b""
    while b"\r\n\r\n" not in said:
        said += more(client)
    length = int(re.search(rb"\r\ncontent-length: *(\d+)", said, re.I)[1])
    body = len(said) - said.index(b"\r\n\r\n") - 4
    while body < length:
        body += len(more(client))


def more(client):
    said = client.recv(65536)
    if not said:
        raise ConnectionError("the proxy closed the connection")
    return said


def lives(client):
    try:
        ask(client, "/1k")
        return True
    except OSError:
        return False
