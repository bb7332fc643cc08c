"""What a run says: every figure, or the table for the README."""

import os
import re
import shutil
import statistics
from pathlib import Path

from rig import output
from turns import TITLES

NAMES = {"nginx": "nginx", "nginx-tuned": "nginx, larger buffers", "haproxy": "HAProxy",
         "haproxy-tuned": "HAProxy, larger buffers", "relay": "bare relay", "causeway": "causeway"}


def head(options):
    logs = "access logs to files, in memory first except HAProxy's (causeway's JSON, the others' usual lines)"
    return (f"{machine()}; {', '.join(versions(options))}. One worker on one core, client and origin on another; "
            f"{options.rounds} x {options.seconds} s, interleaved, medians; health checks on (nginx has none); "
            f"{logs if options.logs else 'access logs off'}. causeway: {options.binary_is}.")


def everything(options, results):
    yield head(options)
    for case, turns in results["cases"].items():
        yield from one_case(case, turns)
    if results["memory"]:
        yield ""
        yield from memory(results["memory"])
    if results["spread"]:
        yield ""
    for text, trials in results["spread"].items():
        yield (f"{text}: the busiest has {trials['median']:.2f} x the mean (worst of {len(trials['all'])} trials: "
               f"{trials['worst']:.2f})")
    yield ""
    yield ("x: the CPU time for a request over the other's, round by round, then the median; below 1 is less. ~: the "
           "proxy's core was not the limit, so the rate says nothing.")


def one_case(case, turns):
    rivals = [name for name in turns if name != "causeway" and "1 worker" not in name]
    steady, two = case == "steady", case == "two"
    yield ""
    columns = ["us/req", "req/s", "its core", "load's core"] + (["p50 us", "p99 us", "p99.9 us"] if steady else [])
    columns += [f"x {NAMES[name]}" for name in rivals] + (["x its 1 worker", "req/s x nginx"] if two else [])
    yield f"| {TITLES[case]} | {' | '.join(columns)} |"
    yield f"|---|{'--:|' * len(columns)}"
    for name, own in turns.items():
        middle = {key: statistics.median(turn[key] for turn in own) for key in own[0]}
        limit = "~" if middle["busy"] < 0.9 and not two else ""
        row = [f"{middle['cost']:.2f}", f"{limit}{middle['rate']:,.0f}".replace(",", " ")]
        row += [f"{middle['busy']:.0%}", f"{middle['load_busy']:.0%}"]
        row += [f"{middle[key]:.0f}" for key in ["p50", "p99", "p999"]] if steady else []
        row += ["1" if rival == name else ratio(turns, name, rival) for rival in rivals]
        row += [ratio(turns, name, f"{name}, 1 worker"), ratio(turns, name, "nginx", "rate")] if two else []
        cut = sum(turn.get("read_errors", 0) for turn in own)
        workers = ", 1 worker" if "1 worker" in name else ""
        note = f" {cut} cut under wrk's read" if cut else ""
        yield f"| {NAMES[name.split(',')[0]]}{workers} | {' | '.join(row)} |{note}"


def table(options, results):
    """For the README: one row for each case, then memory."""
    rivals = [name for name in ["nginx", "nginx-tuned", "haproxy", "haproxy-tuned", "relay"] if name in options.only]
    yield f"| CPU time for each request | {' | '.join(f'x {NAMES[name]}' for name in rivals)} |"
    yield f"|---|{'--:|' * len(rivals)}"
    for case, turns in results["cases"].items():
        if "causeway" in turns:
            yield f"| {TITLES[case]} | {' | '.join(ratio(turns, 'causeway', rival) for rival in rivals)} |"
    if results["memory"]:
        yield ""
        yield from memory(results["memory"])


def memory(found):
    """`found`: what memory.py measured, by proxy."""
    count = f"{next(iter(found.values()))['connections']:,}".replace(",", " ")
    row = lambda what, say: f"| {what} | {' | '.join(say(of_one) for of_one in found.values())} |"
    yield f"| memory, one worker | {' | '.join(NAMES[name] for name in found)} |"
    yield f"|---|{'--:|' * len(found)}"
    yield row("at the start", lambda of_one: f"{of_one['start'] / 1024:.1f} MiB")
    yield row(f"each of {count} idle connections", lambda of_one: f"{of_one['idle']:.1f} KiB")
    yield row("each client that reads nothing of 10 MB", lambda of_one: f"{of_one['stalled']:.0f} KiB")
    for name, of_one in found.items():
        if of_one["alive"] < of_one["asked_again"]:
            yield f"{NAMES[name]}: of {of_one['asked_again']} idle connections, {of_one['alive']} still worked."


def ratio(turns, name, rival, key="cost"):
    """Median of the rounds' ratios."""
    if name not in turns or rival not in turns:
        return "–"
    ratios = [own[key] / other[key] for own, other in zip(turns[name], turns[rival])]
    return f"{statistics.median(ratios):.2f}"


def machine():
    cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return f"{cpu[1] if cpu else os.uname().machine}, {os.cpu_count()} cores, Linux {os.uname().release.split('-')[0]}"


def versions(options):
    said = [output(options.causeway, "--version").strip()] if "causeway" in options.only else []
    if shutil.which("nginx"):
        said.append("nginx " + re.search(r"nginx/(\S+)", output("nginx", "-v"))[1])
    if shutil.which("haproxy"):
        said.append("HAProxy " + re.search(r"version (\d[\d.]*\d)", output("haproxy", "-v"))[1])
    return said
