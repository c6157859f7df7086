# SPDX-License-Identifier: GPL-3.0-or-later
"""The pool itself: what an idle worker costs, how soon a new one takes calls, how soon a dead one's callers know."""

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from bench import cpu
from bench.crowd import Crowd, roles
from bench.figures import Against, Figure, Target
from bench.phone import Caller
from bench.served import address, number
from bench.wire import now
from demo.server import Server, ServerFailed

GROUP = "pool"
_STARTED = re.compile(r"takes calls, (\d+) ms after it was asked for")


def measure(folder: Path, deaths: int, seconds: float) -> Iterator[Figure]:
    """`deaths` workers are killed with a call up; idle workers are watched for so many seconds."""
    with Crowd(folder, 8, {"log": {"level": "info"}}) as crowd:
        yield from _idle(crowd.server, seconds)
        byes = [_killed(crowd.server) for _ in range(deaths)]
        started = [float(found) for found in _STARTED.findall(crowd.server.output)]
    yield Figure("kill -9 of a worker → its caller has BYE", "ms", byes, Target(10), "through the edge", GROUP)
    note = "forked from the warm parent; some at the same time"
    yield Figure("new worker asked for → takes calls", "ms", started, Target(200, Against.P95), note, GROUP)


def _idle(server: Server, seconds: float) -> Iterator[Figure]:
    time.sleep(3)
    by_role = roles(server)
    before, began = cpu.used(set().union(*by_role.values())), time.monotonic()
    time.sleep(seconds)
    after, took = cpu.used(before), time.monotonic() - began
    each = [(after[pid] - before[pid]) / took * 100 for pid in by_role["worker"] if pid in after]
    yield Figure("idle worker, share of a core", "%", each, Target(0.05), "beats included", GROUP, 3)
    for role in ("edge", "parent", "ledger"):
        share = sum(after[pid] - before[pid] for pid in by_role[role] if pid in after) / took * 100
        yield Figure(f"idle {role}, share of a core", "%", [share], None, f"{len(each)} workers", GROUP, 3)


def _killed(server: Server) -> float:
    """One call up, its worker killed: ms until the caller's BYE arrives."""
    first = server.log.next
    caller = Caller(address(server))
    try:
        caller.dial(number(0))
        received = server.log.wait("call.received", within=5, since=first)
        victim = _pid(server, str(received.data["worker"]))
        at = now()
        os.kill(victim, signal.SIGKILL)
        bye = caller.wait_bye(5)
    finally:
        caller.close()
    server.log.wait("call.lost", within=10, since=first, call=received.call)
    return (bye - at) / 1e6


def _pid(server: Server, worker: str) -> int:
    for pid in server.family():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ").split()
        if words[:3] == ["ivr", "worker", worker]:
            return pid
    raise ServerFailed(f"no process of worker {worker}")
