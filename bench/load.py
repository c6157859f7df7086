# SPDX-License-Identifier: GPL-3.0-or-later
"""What recorded bridged calls cost, and that SIPp, which knows nothing of us, completes them."""

import time
from collections.abc import Iterator
from pathlib import Path

from bench import cpu, sipp
from bench.figures import Figure, Target
from bench.served import LANES, address, create, number
from demo.server import Server

_GROUP = "cost"
_TARGET = Target(0.30)


def measure(folder: Path, rounds: int, seconds: float) -> Iterator[Figure]:
    """`rounds` times both lanes for so many seconds in the bridge. A server of its own: its agents are SIPp's."""
    with sipp.agents(folder / "agent") as agent:
        server = create(folder / "served", [agent.uri] * LANES)
        with server:
            server.start()
            yield from _stranger(server, folder)
            idle = _idle(server, seconds / 2)
            measured = [_round(server, folder / f"round{n}", seconds, idle) for n in range(rounds)]
    note = f"{LANES} calls of {seconds:g} s at a time; idle {idle * 100:.2f} % of a core subtracted"
    yield Figure("CPU per recorded bridged G.711 call-minute", "s", [m[0] for m in measured], _TARGET, note, _GROUP, 3)
    for place, part in enumerate(("worker", "ledger", "serve"), 1):
        yield Figure(f"  of it {part}", "s", [m[place] for m in measured], None, "", _GROUP, 3)
    note = "notice, consent, agent's leg, permit, end"
    yield Figure("CPU per call beside the bridge", "ms", [m[4] * 1000 for m in measured], None, note, _GROUP)


def _stranger(server: Server, folder: Path) -> Iterator[Figure]:
    with sipp.stranger(folder / "stranger", address(server), number(0), 2.0) as caller:
        completed = caller.finish(20)
        note = "" if completed else caller.told.strip().splitlines()[-1][:200]
    server.log.wait("call.ended", within=10)
    yield Figure(
        "a SIPp caller completes a call", "of 1", [float(completed)], Target(1, at_least=True), note, _GROUP, 0
    )


def _idle(server: Server, seconds: float) -> float:
    """Share of a core of all processes while no call is up."""
    time.sleep(2)  # the audio clock lingers after a call
    before, began = cpu.used(server.family()), time.monotonic()
    time.sleep(seconds)
    return cpu.between(before, cpu.used(server.family())) / (time.monotonic() - began)


def _round(server: Server, folder: Path, seconds: float, idle: float) -> tuple[float, float, float, float, float]:
    """CPU-seconds a call-minute in the bridge: all, worker, ledger, serve; and seconds a call for all the rest."""
    roles = {role: server.part(role) for role in ("worker", "ledger")} | {"serve": server.pid}
    pids = set(roles.values())
    first = server.log.next
    at_rest, rested = cpu.used(pids), time.monotonic()
    with sipp.callers(folder, address(server), number(0), seconds + 7, LANES) as caller:
        server.log.wait("recording.started", within=20, since=first, count=LANES)
        time.sleep(0.5)
        before, began = cpu.used(pids), time.monotonic()
        time.sleep(seconds)
        after, ended = cpu.used(pids), time.monotonic()
        server.log.poll()
        if any(e.type == "bridge.ended" and e.seq >= first for e in server.log.events):
            raise AssertionError("a bridge ended while it was measured")
        if not caller.finish(20):
            raise AssertionError(f"SIPp: {caller.told}")
    server.log.wait("call.ended", within=10, since=first, count=LANES)
    over, finished = cpu.used(pids), time.monotonic()
    minutes = LANES * (ended - began) / 60
    quiet = idle * (ended - began)
    total = (cpu.between(before, after) - quiet) / minutes
    parts = [(after[roles[r]] - before[roles[r]]) / minutes for r in ("worker", "ledger", "serve")]
    # Whatever else was bridged cost as much a second as what was measured; the rest is what a call costs once.
    stood = (
        sum(e.data["duration_ms"] for e in server.log.events if e.type == "bridge.ended" and e.seq >= first) / 60_000
    )
    rest = cpu.between(at_rest, over) - idle * (finished - rested) - total * stood
    return total, parts[0], parts[1], parts[2], rest / LANES
