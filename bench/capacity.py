# SPDX-License-Identifier: GPL-3.0-or-later
"""Hundreds of calls through edge and pool: what one costs; whether any fails, waits, stutters or leaves no trace."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import cpu
from bench.cost import Cost, used
from bench.crowd import Crowd, roles
from bench.figures import Against, Figure, Target
from bench.parties import Heard
from bench.phones import Ring
from demo.server import Server, ivr

GROUP = "capacity"
RATE = 10.0
"""New calls a second while the calls of a measurement are set up."""
SETTLE_S = 3.0
LATE_S = 20.0
"""How much longer than their set-up takes at best the calls of a measurement are waited for."""
MEMORY_S = 8.0
"""How long reading the memory of all processes may take, at most, while the calls stand."""
T1_MS = 500.0
"""A 200 that comes later is late: the caller has sent the INVITE again by then (RFC 3261 section 17.1.1.1, T1)."""
COST = Target(0.30)
NONE_AT_ALL = Target(0)
COST_AT = 100
"""The number of calls that the target for the cost is about."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured: the numbers of calls at once, how long, and how many seconds of short calls a second."""

    sizes: tuple[int, ...]
    hold: float
    short_rate: float
    short_seconds: float


def measure(folder: Path, plan: Plan) -> Iterator[Figure]:
    """A server of its own for each number of calls; the last one is the largest."""
    costs: dict[int, float] = {}
    for size in plan.sizes:
        with Crowd(folder / f"of{size}", size) as crowd:
            cost, answers, failed = _held(crowd, size, plan.hold)
            costs[size] = cost.total
            yield from _cost(size, cost)
            yield from _service(crowd, size, answers, failed)
            if size == max(plan.sizes):
                yield _busy_answers(answers, size)
    note = ", ".join(f"{size}: {cost:.2f}" for size, cost in costs.items())
    yield Figure(
        "dearest call-minute by cheapest", "times", [max(costs.values()) / min(costs.values())], None, note, GROUP
    )
    yield from _short(folder / "short", plan)


def _held(crowd: Crowd, size: int, hold: float) -> tuple[Cost, list[float], int]:
    """`size` calls at once for `hold` seconds: their cost, INVITE to 200 in ms, and how many SIPp calls failed.

    On a machine that cannot carry them they come late or fail: what was reached is measured all the same.
    """
    log = crowd.server.log
    first = log.next
    up = size / RATE
    with crowd.ring(Ring(size, RATE, up + LATE_S + hold)) as callers:
        began = time.monotonic()
        with suppress(AssertionError):
            crowd.wait_recording(size, first, within=up + LATE_S / 2)
        time.sleep(SETTLE_S)
        log.poll()
        recorded = sum(event.type == "recording.started" for event in log.events)
        left = up + LATE_S + hold - (time.monotonic() - began)
        cost = used(roles(crowd.server), max(1, recorded), max(1.0, min(hold, left - MEMORY_S)))
        finished = callers.finish(up + LATE_S + hold + 60)
        answers = crowd.phones.answer_ms()
        failed = 0 if finished and len(answers) == size else max(1, size - len(answers))
    with suppress(AssertionError):
        log.wait("call.ended", within=60, since=first, count=size)
    return cost, answers, failed


def _cost(size: int, cost: Cost) -> Iterator[Figure]:
    target = COST if size == COST_AT else None
    name = f"CPU per recorded bridged call-minute, {size} calls"
    yield Figure(name, "s", [cost.total], target, "edge, workers, ledger, parents", GROUP, 3)
    for role, part in cost.parts.items():
        yield Figure(f"  of it {role}", "s", [part], None, "", GROUP, 3)
    yield Figure(f"memory per call, {size} calls", "MB", [cost.memory], None, "PSS of all processes", GROUP)


def _service(crowd: Crowd, size: int, answers: list[float], failed: int) -> Iterator[Figure]:
    sides = crowd.phones.heard()
    yield Figure(f"calls that failed, of {size}", "", [failed], NONE_AT_ALL, "", GROUP, 0)
    yield Figure(
        f"INVITE → 200, {size} calls", "ms", answers, Target(T1_MS, Against.P99), f"{RATE:g} new a second", GROUP
    )
    late = sum(answer > T1_MS for answer in answers)
    yield Figure("  of them late", "", [late], NONE_AT_ALL, f"after more than T1, {T1_MS:g} ms", GROUP, 0)
    yield _gaps(sides)
    yield _kept(crowd.server, size)


def _gaps(sides: tuple[Heard, Heard]) -> Figure:
    gaps = [gap for side in sides for gap in side.gaps_ms]
    late, packets = sum(side.late for side in sides), sum(side.packets for side in sides)
    note = f"each stream's longest; {late} gaps over 60 ms in {packets} packets"
    return Figure("gap between packets, both sides", "ms", gaps, Target(60, Against.P99), note, GROUP)


def _kept(server: Server, size: int) -> Figure:
    """Every call has its first and last event and its recording, and the log verifies with every recording's bytes."""
    server.log.poll()
    kinds = ("call.received", "call.ended", "recording.permitted", "recording.started", "recording.stopped")
    counts = {kind: sum(event.type == kind for event in server.log.events) for kind in kinds}
    missing = sum(abs(size - count) for count in counts.values())
    verdict = ivr("log", "verify", "--config", server.folder, within=300)
    note = "log and recordings verified" if verdict.status == 0 else verdict.out[-200:] + verdict.err[-200:]
    return Figure("events lost", "", [missing + (verdict.status != 0)], NONE_AT_ALL, note, GROUP, 0)


def _busy_answers(answers: list[float], size: int) -> Figure:
    """Set-up with 80 % of the calls up, beside that with 10 %."""

    def around(share: float) -> float:
        middle, width = round(size * share), max(5, size // 20)
        return median(answers[max(0, middle - width) : middle + width])

    if len(answers) < size:
        return Figure("INVITE → 200 at 80 % load by that at 10 %", "times", [], Target(2), "calls failed", GROUP)
    note = f"{around(0.8):.1f} ms by {around(0.1):.1f} ms"
    return Figure(
        "INVITE → 200 at 80 % load by that at 10 %", "times", [around(0.8) / around(0.1)], Target(2), note, GROUP
    )


def _short(folder: Path, plan: Plan) -> Iterator[Figure]:
    """So many new calls a second of 2 s each; every one of them has to be answered and in the log."""
    calls = round(plan.short_rate * plan.short_seconds)
    with Crowd(folder, round(plan.short_rate * 4)) as crowd:
        first = crowd.server.log.next
        pids = set().union(*roles(crowd.server).values())
        before = cpu.used(pids)
        with crowd.ring(Ring(calls, plan.short_rate, 2.0)) as callers:
            finished = callers.finish(plan.short_seconds * 2 + 60)
        crowd.server.log.poll()
        answers = crowd.phones.answer_ms()
        failed = 0 if finished and len(answers) == calls else max(1, calls - len(answers))
        with suppress(AssertionError):  # what is missing is counted below
            crowd.server.log.wait("call.ended", within=60, since=first, count=calls - failed)
        cost = cpu.between(before, cpu.used(pids)) / max(1, calls) * 1000
        received = sum(event.type == "call.received" for event in crowd.server.log.events)
        ended = sum(event.type == "call.ended" for event in crowd.server.log.events)
    name = f"{plan.short_rate:g} new calls a second of 2 s, for {plan.short_seconds:g} s"
    yield Figure(f"{name}: failed", "", [failed], NONE_AT_ALL, f"of {calls}", GROUP, 0)
    lost = abs(received - ended) + max(0, calls - failed - received)
    yield Figure("  calls without all their events", "", [lost], NONE_AT_ALL, "", GROUP, 0)
    yield Figure("  INVITE → 200", "ms", answers, None, "", GROUP)
    yield Figure("  CPU per call", "ms", [cost], None, "edge, workers, ledger, parents", GROUP)
