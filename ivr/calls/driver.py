# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the consent machine of one call: logs what it is told and what it decides, in that order, then does it.

Everything here happens on the event loop. An input that arrives while another is being worked off waits its turn, so
the log has every input followed by its decisions.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ivr.calls.journal import Journal
from ivr.consent import effects as fx
from ivr.consent import inputs as i
from ivr.consent.machine import InvariantError, step
from ivr.consent.record import decision_event, input_event
from ivr.consent.state import State, initial
from ivr.ledger.client import Ack
from ivr.ledger.ids import uuid7

log = logging.getLogger(__name__)

Facts = Mapping[str, Any]

# Inputs that come from outside at any time: logged only when they change something. All others are facts of the call.
_ONLY_IF_THEY_MATTER = (
    i.Key,
    i.Preferred,
    i.Expired,
    i.LedgerLost,
    i.Faulted,
    i.PermitAcknowledged,
    i.RecorderFailed,
)


class Hands(Protocol):
    """What the machine's effects are done with."""

    def stop_notice(self) -> None:
        """Silence the notice now."""

    def say(self, party: str, message: fx.Message) -> None:
        """Tell a party something aloud, soon."""

    def settled(self, recordable: bool) -> None:
        """The consent step is over."""

    def start_recording(self, number: int, permit: str) -> None:
        """Open the recorder with this acknowledged permit (JWS)."""

    def pause_recording(self, number: int, reason: str) -> None:
        """Keep no sample from now on."""

    def resume_recording(self, number: int) -> None:
        """Keep samples again."""

    def stop_recording(self, number: int, reason: str, erase: bool) -> None:
        """Close the recorder now."""

    def erase_recording(self, number: int) -> None:
        """Destroy an earlier recording of this call."""


class Driver:
    """Owns the machine's state of one call, its timers and its permits."""

    def __init__(self, journal: Journal, hands: Hands, loop: asyncio.AbstractEventLoop) -> None:
        self._journal = journal
        self._hands = hands
        self._loop = loop
        self._timers: dict[i.Timer, asyncio.TimerHandle] = {}
        self._waiting: deque[tuple[i.Input, Facts, Facts]] = deque()
        self._busy = False
        self._permits: dict[int, str] = {}
        self.state: State = initial()
        self.recordings: dict[int, str] = {}
        """The id of the recording by the number of the permit that was asked for it."""

    def would_matter(self, event: i.Input) -> bool:
        """Whether telling this would change anything: a key that does not matter is the flow's."""
        try:
            state, effects = step(self.state, event, self._journal.now_ms())
        except InvariantError:
            return False
        return bool(effects) or state != self.state

    def tell(self, event: i.Input, *, personal: Facts | None = None, **facts: Any) -> None:
        """Tells the machine, logs it and its decisions, and does what it wants."""
        self._waiting.append((event, facts, personal or {}))
        if self._busy:
            return
        self._busy = True
        try:
            while self._waiting:
                self._work_off(*self._waiting.popleft())
        finally:
            self._busy = False

    def _work_off(self, event: i.Input, facts: Facts, personal: Facts) -> None:
        now = self._journal.now_ms()
        try:
            state, effects = step(self.state, event, now)
        except InvariantError:
            log.exception("call %s: consent machine, in %s", self._journal.call, self.state)
            self._fail_closed(event)
            return
        if isinstance(event, _ONLY_IF_THEY_MATTER) and state == self.state and not effects:
            return
        kind, data = input_event(event)
        self._journal.write(kind, {**data, **facts}, personal, at_ms=now)
        self.state = state
        permits = [self._log_decision(effect, now) for effect in effects if isinstance(effect, fx.LoggedDecision)]
        for effect in effects:
            try:
                self._do(effect)
            except Exception:
                # What comes after it is done all the same: a stop, a timer, the answer that the flow waits for.
                log.exception("call %s: %s", self._journal.call, type(effect).__name__)
                self._fail_closed(event)
        for permit in filter(None, permits):
            self._await_permit(*permit)

    def _fail_closed(self, event: i.Input) -> None:
        """A contradiction in what we know: nothing is recorded from here on. An input itself, so replay sees it."""
        if not isinstance(event, i.Faulted):
            self._waiting.append((i.Faulted(), {}, {}))

    def _log_decision(self, decision: fx.LoggedDecision, now: int) -> "tuple[int, asyncio.Future[Ack]] | None":
        kind, data = decision_event(decision, self.state.policy)
        if isinstance(decision, fx.Permit):
            recording = self.recordings[decision.number] = uuid7()
            sent = self._journal.write(kind, {**data, "recording": recording}, at_ms=now, queue=False)
            return decision.number, sent
        self._journal.write(kind, data, at_ms=now)
        return None

    def _await_permit(self, number: int, sent: "asyncio.Future[Ack]") -> None:
        asked = self._loop.time()

        def answered(done: "asyncio.Future[Ack]") -> None:
            if done.cancelled() or done.exception() is not None:
                self.tell(i.LedgerLost("ledger"))
                return
            self._permits[number] = done.result().jws
            self.tell(i.PermitAcknowledged(number), waited_us=int((self._loop.time() - asked) * 1_000_000))

        sent.add_done_callback(answered)

    def _do(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Arm(timer, due_ms):
                self._arm(timer, due_ms)
            case fx.Disarm(timer):
                if handle := self._timers.pop(timer, None):
                    handle.cancel()
            case fx.StopNotice():
                self._hands.stop_notice()
            case fx.Say(party, message):
                self._hands.say(party, message)
            case fx.Settled(recordable):
                self._hands.settled(recordable)
            case fx.StartRecording(number):
                self._hands.start_recording(number, self._permits[number])
            case fx.PauseRecording(number, reason):
                self._hands.pause_recording(number, reason)
            case fx.ResumeRecording(number):
                self._hands.resume_recording(number)
            case fx.StopRecording(number, reason, erase):
                self._hands.stop_recording(number, reason, erase)
            case fx.EraseRecording(number):
                self._hands.erase_recording(number)

    def _arm(self, timer: i.Timer, due_ms: int) -> None:
        # One ms late rather than early: the machine ignores what is not yet due.
        if before := self._timers.pop(timer, None):
            before.cancel()
        delay = max(0, due_ms - self._journal.now_ms() + 1) / 1000
        self._timers[timer] = self._loop.call_later(delay, self._expire, timer, due_ms)

    def _expire(self, timer: i.Timer, due_ms: int) -> None:
        if self._journal.now_ms() < due_ms:
            self._arm(timer, due_ms)
            return
        self._timers.pop(timer, None)
        self.tell(i.Expired(timer))

    def close(self) -> None:
        """Forgets the timers; the call is over."""
        for handle in self._timers.values():
            handle.cancel()
        self._timers.clear()


Tell = Callable[..., None]
