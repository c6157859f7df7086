# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver: every input is logged, then its decisions, then they are done; permits fail closed, timers end."""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any

import pytest

from calls_kit import CALL, ToldLedger, Written, ack, on_virtual_clock
from consent_kit import OPT_IN, OPT_OUT_NO_WINDOW, PATHS, REFUSE, SAMPLES, WITHDRAW
from ivr.calls.driver import Driver
from ivr.calls.journal import Journal
from ivr.consent import inputs as i
from ivr.consent.state import Recording, Standing
from ivr.ledger.errors import LedgerRefused, LedgerUnavailable
from scenarios.clock import VirtualLoop


@dataclass
class NotedHands:
    """Notes what it is asked to do; `then` lets it tell the driver something in the middle of it."""

    done: list[tuple[Any, ...]] = field(default_factory=list)
    then: dict[str, Any] = field(default_factory=dict)

    def _note(self, *what: Any) -> None:
        self.done.append(what)
        if follow := self.then.get(what[0]):
            follow()

    def stop_notice(self) -> None:
        self._note("stop_notice")

    def say(self, party: str, message: Any) -> None:
        self._note("say", party, message.value)

    def settled(self, recordable: bool) -> None:
        self._note("settled", recordable)

    def start_recording(self, number: int, permit: str) -> None:
        self._note("start", number, permit)

    def pause_recording(self, number: int, reason: str) -> None:
        self._note("pause", number, reason)

    def resume_recording(self, number: int) -> None:
        self._note("resume", number)

    def stop_recording(self, number: int, reason: str, erase: bool) -> None:
        self._note("stop", number, reason, erase)

    def erase_recording(self, number: int) -> None:
        self._note("erase", number)


class Desk:
    """A driver with its ledger and hands, on the running loop."""

    def __init__(self, answer: Any = lambda _written: None) -> None:
        self.loop: VirtualLoop = asyncio.get_running_loop()  # type: ignore[assignment]
        self.ledger = ToldLedger(answer=answer)
        self.hands = NotedHands()
        self.driver = Driver(Journal(self.ledger, CALL, self.loop), self.hands, self.loop)  # type: ignore[arg-type]

    def cleared(self, policy: Any = OPT_OUT_NO_WINDOW) -> None:
        """To the point at which an agent has been told and a permit is asked for."""
        tell = self.driver.tell
        tell(i.Answered(PATHS), codec="PCMA")
        tell(i.Asked(policy), policy_sha256="sha256:0", machine=1)
        tell(i.NoticeStarted(SAMPLES))
        tell(i.NoticeCompleted(SAMPLES, SAMPLES))
        tell(i.Joined("agent-1"), personal={"address": "sip:a@b"})
        tell(i.Informed("agent-1", True))

    @property
    def waiting(self) -> list[str]:
        return self.loop.waiting()


def only(kind: str, do: Any) -> Any:
    def answer(one: Written) -> None:
        if one.kind == kind:
            do(one)

    return answer


def test_an_input_is_logged_before_its_decisions_and_both_at_one_time() -> None:
    async def run() -> None:
        desk = Desk()
        await asyncio.sleep(0.5)
        desk.cleared()
        assert desk.ledger.kinds == [
            "call.answered",
            "consent.asked",
            "notice.started",
            "notice.completed",
            "consent.decided",
            "party.joined",
            "agent.informed",
            "recording.permitted",
        ]
        assert {one.data["at_ms"] for one in desk.ledger.written} == {500}
        assert desk.ledger.written[0].data["codec"] == "PCMA"
        assert desk.ledger.written[5].personal == {"address": "sip:a@b"}
        desk.driver.close()

    on_virtual_clock(run)


def test_what_the_hands_report_in_the_middle_waits_its_turn() -> None:
    """A stopped notice reports how far it came: after the decision that stopped it, not in front of it."""

    async def run() -> list[str]:
        desk = Desk()
        desk.hands.then["stop_notice"] = lambda: desk.driver.tell(i.NoticeInterrupted("stopped"), samples_sent=1)
        desk.driver.tell(i.Answered(PATHS))
        desk.driver.tell(i.Asked(OPT_OUT_NO_WINDOW))
        desk.driver.tell(i.NoticeStarted(SAMPLES))
        desk.driver.tell(i.Key(i.CALLER, REFUSE))
        desk.driver.close()
        return desk.ledger.kinds[-3:]

    assert on_virtual_clock(run) == ["consent.signalled", "consent.decided", "notice.interrupted"]


def test_what_changes_nothing_is_logged_only_when_it_is_a_fact_of_the_call() -> None:
    async def run() -> list[str]:
        desk = Desk()
        desk.driver.tell(i.Answered(PATHS))
        desk.driver.tell(i.Key(i.CALLER, "5"))
        desk.driver.tell(i.LedgerLost("ledger"))
        desk.driver.tell(i.Expired(i.Timer.WINDOW))
        desk.driver.tell(i.Renegotiated(i.CALLER, PATHS))
        return desk.ledger.kinds

    assert on_virtual_clock(run) == ["call.answered", "leg.renegotiated"]


def test_asking_whether_something_would_matter_changes_nothing() -> None:
    async def run() -> None:
        desk = Desk()
        desk.driver.tell(i.Answered(PATHS))
        desk.driver.tell(i.Asked(OPT_OUT_NO_WINDOW))
        state = desk.driver.state
        assert desk.driver.would_matter(i.Key(i.CALLER, REFUSE)) is True
        assert desk.driver.would_matter(i.Key(i.CALLER, "5")) is False
        assert desk.driver.would_matter(i.Key("agent-1", REFUSE)) is False  # nobody of that name
        assert desk.driver.state is state
        assert desk.ledger.kinds == ["call.answered", "consent.asked"]
        desk.driver.close()

    on_virtual_clock(run)


# -- permits ---------------------------------------------------------------------------------------------------------


def test_a_permit_is_never_queued_and_opens_the_recorder_with_what_was_acknowledged() -> None:
    async def run() -> None:
        desk = Desk()
        desk.cleared()
        permit = desk.ledger.written[-1]
        assert permit.kind == "recording.permitted"
        assert permit.queue is False
        assert all(one.queue for one in desk.ledger.written[:-1])
        assert not any(what[0] == "start" for what in desk.hands.done)
        await asyncio.sleep(0.2)
        ack(permit)
        await asyncio.sleep(0)
        assert desk.hands.done[-1] == ("start", 1, "jws recording.permitted")
        armed = desk.ledger.written[-1]
        assert (armed.kind, armed.data["waited_us"]) == ("recording.armed", 200_000)
        desk.driver.close()

    on_virtual_clock(run)


@pytest.mark.parametrize("error", [LedgerUnavailable("gone"), LedgerRefused("invalid", "no")])
def test_a_permit_that_fails_blocks_at_once(error: Exception) -> None:
    async def run() -> None:
        desk = Desk(only("recording.permitted", lambda one: one.done.set_exception(error)))
        desk.cleared()
        await asyncio.sleep(0)
        assert desk.ledger.kinds[-2:] == ["ledger.unreachable", "recording.blocked"]
        assert desk.driver.state.recording is Recording.DENIED
        assert not any(what[0] == "start" for what in desk.hands.done)
        assert desk.waiting == []

    on_virtual_clock(run)


def test_a_permit_that_is_cancelled_blocks_too() -> None:
    async def run() -> None:
        desk = Desk(only("recording.permitted", lambda one: one.done.cancel()))
        desk.cleared()
        await asyncio.sleep(0)
        assert desk.ledger.kinds[-1] == "recording.blocked"

    on_virtual_clock(run)


def test_no_answer_in_time_blocks_and_a_late_one_opens_nothing() -> None:
    async def run() -> None:
        desk = Desk()
        desk.cleared()
        permit = desk.ledger.written[-1]
        await asyncio.sleep(0.499)
        assert desk.ledger.kinds[-1] == "recording.permitted"
        await asyncio.sleep(0.01)
        assert desk.ledger.kinds[-2:] == ["consent.timed_out", "recording.blocked"]
        assert desk.ledger.written[-1].data["at_ms"] >= 500
        ack(permit)
        await asyncio.sleep(0)
        assert desk.ledger.kinds[-1] == "recording.blocked"
        assert not any(what[0] == "start" for what in desk.hands.done)

    on_virtual_clock(run)


def test_every_permit_has_a_recording_of_its_own() -> None:
    async def run() -> None:
        desk = Desk(only("recording.permitted", ack))
        desk.cleared()
        desk.driver.tell(i.Left("agent-1", "hangup"))
        await asyncio.sleep(0)
        desk.driver.tell(i.Joined("agent-2"))
        desk.driver.tell(i.Informed("agent-2", True))
        permits = [one.data for one in desk.ledger.written if one.kind == "recording.permitted"]
        assert [permit["number"] for permit in permits] == [1, 2]
        assert permits[0]["recording"] != permits[1]["recording"]
        assert permits[1]["parties"] == ["caller", "agent-2"]
        desk.driver.close()

    on_virtual_clock(run)


# -- timers ----------------------------------------------------------------------------------------------------------


def test_a_window_that_runs_out_is_told_to_the_machine() -> None:
    async def run() -> None:
        desk = Desk()
        desk.driver.tell(i.Answered(PATHS))
        desk.driver.tell(i.Asked(OPT_IN))
        desk.driver.tell(i.NoticeStarted(SAMPLES))
        desk.driver.tell(i.NoticeCompleted(SAMPLES, SAMPLES))
        await asyncio.sleep(OPT_IN.window_ms / 1000 - 0.1)
        assert desk.driver.state.caller is Standing.DECIDING
        await asyncio.sleep(0.2)
        assert desk.ledger.kinds[-2:] == ["consent.timed_out", "consent.decided"]
        assert desk.hands.done[-1] == ("settled", False)
        assert desk.waiting == []

    on_virtual_clock(run)


def test_an_answer_disarms_the_wait() -> None:
    async def run() -> None:
        desk = Desk()
        desk.driver.tell(i.Answered(PATHS))
        desk.driver.tell(i.Asked(OPT_IN))
        desk.driver.tell(i.NoticeStarted(SAMPLES))
        desk.driver.tell(i.NoticeCompleted(SAMPLES, SAMPLES))
        desk.driver.tell(i.Key(i.CALLER, REFUSE))
        assert desk.waiting == []

    on_virtual_clock(run)


def test_closing_forgets_the_timers() -> None:
    async def run() -> None:
        desk = Desk()
        desk.driver.tell(i.Answered(PATHS))
        desk.driver.tell(i.Asked(OPT_IN))
        assert desk.waiting != []
        desk.driver.close()
        assert desk.waiting == []

    on_virtual_clock(run)


# -- contradictions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("impossible", [i.Answered(PATHS), i.Key("agent-9", "1"), i.RecorderStarted(3)])
def test_a_contradiction_ends_in_nothing_being_recorded(impossible: i.Input, caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be true was not logged as true; what follows from it was, so that replay sees why."""

    async def run() -> None:
        desk = Desk(only("recording.permitted", ack))
        desk.cleared()
        await asyncio.sleep(0)
        before = len(desk.ledger.written)
        desk.driver.tell(impossible)
        assert desk.ledger.kinds[before:] == ["consent.faulted"]
        assert any(what[0] == "stop" for what in desk.hands.done)
        assert desk.driver.state.recording is Recording.STOPPING
        desk.driver.close()

    with caplog.at_level(logging.CRITICAL):
        on_virtual_clock(run)


def test_a_contradiction_before_any_recording_blocks_it(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        desk = Desk()
        desk.driver.tell(i.Answered(PATHS))
        desk.driver.tell(i.Answered(PATHS))
        assert desk.ledger.kinds == ["call.answered", "consent.faulted", "recording.blocked"]
        desk.driver.tell(i.Answered(PATHS))
        assert desk.ledger.kinds[-1] == "recording.blocked"  # said once

    with caplog.at_level(logging.CRITICAL):
        on_virtual_clock(run)


def test_a_withdrawal_reaches_the_recorder_in_the_same_turn_of_the_loop() -> None:
    async def run() -> None:
        desk = Desk(only("recording.permitted", ack))
        desk.cleared()
        await asyncio.sleep(0)
        desk.driver.tell(i.RecorderStarted(1))
        desk.driver.tell(i.Key("agent-1", WITHDRAW))
        assert ("stop", 1, "withdrawn_by_other", False) in desk.hands.done
        desk.driver.close()

    on_virtual_clock(run)


def test_hands_that_break_do_not_leave_the_driver_deaf() -> None:
    """A fault in one effect keeps neither the other effects from being done nor later inputs from being heard."""

    def broken() -> None:
        raise RuntimeError("of this kind")

    async def run() -> None:
        desk = Desk()
        desk.hands.then["stop_notice"] = broken
        desk.driver.tell(i.Answered(PATHS))
        desk.driver.tell(i.Asked(OPT_OUT_NO_WINDOW))
        desk.driver.tell(i.NoticeStarted(SAMPLES))
        desk.driver.tell(i.Key(i.CALLER, REFUSE))
        assert ("settled", False) in desk.hands.done
        desk.driver.tell(i.Left(i.CALLER, "hangup"))
        assert desk.ledger.kinds[-1] == "party.left"
        desk.driver.close()

    on_virtual_clock(run)


def test_a_recorder_that_breaks_on_opening_ends_unrecorded_and_in_the_log() -> None:
    """Without the timers that follow it, the machine would wait for the recorder until the call ends."""

    def broken() -> None:
        raise OSError("no space left on device")

    async def run() -> None:
        desk = Desk(only("recording.permitted", ack))
        desk.hands.then["start"] = broken
        desk.cleared()
        await asyncio.sleep(0)
        assert desk.ledger.kinds[-1] == "consent.faulted"
        assert ("stop", 1, "internal", False) in desk.hands.done
        assert desk.driver.state.final
        desk.driver.close()

    on_virtual_clock(run)
