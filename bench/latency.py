# SPDX-License-Identifier: GPL-3.0-or-later
"""How soon the server answers, speaks, and obeys the opt-out key: measured on the wire, caller's and agent's end."""

import time
from collections.abc import Iterator

from bench.figures import Against, Figure, Target
from bench.g711 import level
from bench.lanes import Lane, Measured, gather, random
from bench.marked import SILENT, Marked
from bench.phone import Agent, Caller
from bench.served import KEY, TRANSCRIPT, prompt
from demo.server import Server

_GROUP = "latency"
_MS = 1e6
_CONFIRMATION = "You will not be recorded."


def set_up(server: Server, agents: list[Agent], count: int, seconds: float) -> Iterator[Figure]:
    """Calls that hang up once the notice is heard, first with the worker at rest, then one after the other."""
    notice = Marked(prompt(server, TRANSCRIPT))
    cold = gather(server, agents[:1], lambda lane: _rung(lane, notice, rest=1.3), max(3, count // 10), seconds / 3)
    warm = gather(server, agents, lambda lane: _rung(lane, notice, rest=random.uniform(0.1, 0.3)), count, seconds)
    yield Figure("INVITE → 200", "ms", warm.of("answer"), Target(5, Against.MEDIAN), warm.note, _GROUP, 2)
    yield Figure("INVITE → 200, worker at rest", "ms", cold.of("answer"), None, cold.note, _GROUP, 2)
    yield Figure("200 → first notice packet", "ms", warm.of("notice"), Target(25, Against.P99), "", _GROUP)
    yield Figure("200 → first notice packet, worker at rest", "ms", cold.of("notice"), None, "", _GROUP)


def _rung(lane: Lane, notice: Marked, rest: float) -> Measured:
    time.sleep(rest)
    with Caller(lane.server).dial(lane.number) as call:
        heard = call.line.wait(notice.found, 3)
        if heard is None:
            raise AssertionError("no notice was heard")
        return {
            "answer": (call.answered_at - call.invited_at) / _MS,
            "notice": (heard.at - call.answered_at) / _MS - notice.offset_ms,
        }


def opt_out(server: Server, agents: list[Agent], count: int, seconds: float) -> Iterator[Figure]:
    """The key in mid-notice, at any moment of the server's clock."""
    confirmation = Marked(prompt(server, _CONFIRMATION))
    runs = gather(server, agents, lambda lane: _opted_out(lane, confirmation), count, seconds)
    yield Figure(
        "key in the notice → agent's INVITE", "ms", runs.of("invite"), Target(30, Against.P99), runs.note, _GROUP
    )
    yield Figure("key in the notice → notice silent", "ms", runs.of("silent"), None, "", _GROUP)
    yield Figure("key in the notice → confirmation audio", "ms", runs.of("confirmed"), None, "", _GROUP)


def _opted_out(lane: Lane, confirmation: Marked) -> Measured:
    rung = lane.agent.count
    with Caller(lane.server).dial(lane.number) as call:
        if call.line.wait(lambda packet: level(packet.payload) > SILENT, 3) is None:
            raise AssertionError("no notice was heard")
        time.sleep(random.uniform(0.3, 0.8))
        pressed = call.line.press(KEY)
        invited = lane.agent.wait(rung, 5)
        silent = call.line.wait(lambda packet: level(packet.payload) < SILENT, 3, after=pressed)
        confirmed = call.line.wait(confirmation.found, 3, after=pressed)
        measured = {"invite": (invited.at - pressed) / _MS}
        if silent is not None:
            measured["silent"] = (silent.at - pressed) / _MS
        if confirmed is not None:
            measured["confirmed"] = (confirmed.at - pressed) / _MS - confirmation.offset_ms
    lane.settle(call.call_id)
    return measured
