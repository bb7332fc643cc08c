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
    """`tuned`, `relay`: whether larger buffers, and the bare relay, say something about it."""

    def __init__(self, path, connections, further=(), tuned=False, relay=True):
        self.path, self.connections, self.further = path, connections, list(further)
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
}
TITLES = {
    "1k": "1 KB GET, kept connections",
    "64k": "64 KB GET",
    "10m": "10 MB GET",
    "post": "16 KB POST",
    "chunked": "64 KB GET, chunked",
    "close": "1 KB GET, a new connection each",
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
        results[name] = rounds(rig, name, taking_part, lambda proxy: wrk(rig, proxy, case, rig.load_core))
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


def wrk(rig, proxy, case, cores, threads=1):
    """One turn: as much as the client can ask for."""
    command = ["wrk", f"-t{threads}", f"-c{case.connections}", f"-d{rig.options.seconds}s", "--timeout", "10s"]
    turn, said = timed(rig, proxy, cores, [*command, *case.further, proxy.url(case.path)])
    requests = int(re.search(r"(\d+) requests in", said)[1])
    bad = re.search(r"Non-2xx.*|Socket errors:.*", said)
    if not requests or (bad and not re.search(r"connect 0, read \d+, write 0, timeout 0", bad[0])):
        sys.exit(f"{case.path}, {proxy.name}: {bad[0] if bad else 'no answers'}\n{said}")
    turn["read_errors"] = int(re.search(r"read (\d+)", bad[0])[1]) if bad else 0
    return per_request(turn, requests)


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
