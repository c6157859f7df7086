# SPDX-License-Identifier: GPL-3.0-or-later
"""bridge: rings the targets in order, tells the agent whether the call is recorded, joins the two.

The recording is not this verb's business: it tells the machine who joined and who was told what.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ivr.calls.party import Party
from ivr.calls.services import PromptUnavailable
from ivr.consent import inputs as i
from ivr.consent.effects import Message
from ivr.consent.machine import expects_recording
from ivr.consent.state import Recording, Standing
from ivr.flow.verbs import Bridge, Record
from ivr.sip.events import Down, LegEvent, Up
from ivr.sip.leg import LegGone
from ivr.sip.sdp import EDGE_ID, user_of

if TYPE_CHECKING:
    from ivr.calls.session import Session

log = logging.getLogger(__name__)

_BUSY = frozenset({486, 600})
_NO_ANSWER = frozenset({408, 480, 487})


@dataclass(frozen=True, slots=True)
class _Failed:
    status: int
    reason: str


async def run(session: "Session", step: Bridge) -> str | None:
    """None after a bridge that stood and ended; else the section for why none did."""
    _ring_back(session, step)
    failures: list[_Failed] = []
    try:
        for place, uri in enumerate(step.targets, 1):
            outcome = await _try(session, step, str(uri))
            if outcome is None:
                return None
            failures.append(outcome)
            session.note("bridge.failed", {"target": place, "status": outcome.status, "reason": outcome.reason})
    finally:
        session.caller.speaker.hush()
    return step.section_for(_common(failures))


def _ring_back(session: "Session", step: Bridge) -> None:
    spec = session.services.prompts.ring_back(step.ring_back)
    if spec is None:
        return
    try:
        session.caller.speaker.loop(session.services.file(spec))
    except PromptUnavailable as error:
        log.error("call %s: %s", session.call, error)


def _common(failures: list[_Failed]) -> str:
    """Why no target took the call: one reason when all had it, else just that none did."""
    reasons = {failure.reason for failure in failures}
    return reasons.pop() if len(reasons) == 1 else "failed"


async def _try(session: "Session", step: Bridge, uri: str) -> _Failed | None:
    """One target: None when the bridge stood, else why it did not."""
    ringing = _Ringing(session, uri)
    try:
        failed = await ringing.answer(step.ring_time.ms / 1000)
        if failed is not None:
            return failed
        party = ringing.party
        if party.leg.down is not None or not await _tell(session, step, party):
            return _Failed(200, "agent_left")
        await _joined(session, step, party)
        return None
    finally:
        ringing.close()


class _Ringing:
    """An agent's leg from INVITE to answer. Its events go to the session once it is a party."""

    def __init__(self, session: "Session", uri: str) -> None:
        self._session = session
        self._uri = uri
        self._answered: asyncio.Future[_Failed | None] = asyncio.get_running_loop().create_future()
        self._over = False
        self.party: Party

    async def answer(self, ring_s: float) -> _Failed | None:
        """Waits for an answer, a refusal, or the end of the ring time."""
        session = self._session
        session.masks((self._uri, user_of(self._uri)))
        # The edge knows the outbound leg by the id of the call, and takes it off before it goes out.
        headers = {EDGE_ID: session.trace.edge} if session.trace.edge else None
        try:
            leg = session.services.endpoint.dial(self._uri, display=session.caller_number, headers=headers)
        except LegGone as error:
            log.warning("call %s: %s", session.call, error)
            return _Failed(0, "failed")
        session.agents += 1
        self.party = Party(f"agent-{session.agents}", leg)
        session.agent = self.party
        leg.listen(self._on_event)
        await asyncio.wait([self._answered], timeout=ring_s)
        return self._answered.result() if self._answered.done() else _Failed(408, "no_answer")

    def _on_event(self, event: LegEvent) -> None:
        if isinstance(event, Up) and not self._answered.done() and not self._over:
            # At once, for what comes next is a party's: an agent may answer on hold.
            self._session.driver.tell(i.Joined(self.party.name), personal={"address": self._uri})
            self._answered.set_result(None)
        if isinstance(event, Down) and not self._answered.done():
            reason = "busy" if event.status in _BUSY else "no_answer" if event.status in _NO_ANSWER else "failed"
            self._answered.set_result(_Failed(event.status, reason))
        self._session.on_event(self.party, event)

    def close(self) -> None:
        """Whatever happened, this agent's leg does not outlive its turn."""
        self._over = True
        party = getattr(self, "party", None)
        if party is None:
            return
        session = self._session
        party.speaker.cut()
        party.leg.hangup()
        session.left(party, "hangup" if party.leg.down else "server")
        if session.agent is party:
            session.bridged = False


async def _tell(session: "Session", step: Bridge, party: Party) -> bool:
    """The agent hears, before anything else, whether the call is recorded. False when the agent went away."""
    recorded = step.record is Record.CONSENT and expects_recording(session.driver.state)
    if not step.tell_agent:
        return True
    name = "agent_recorded" if recorded else "agent_not_recorded"
    file = session.message(name)
    if file is None:
        session.driver.tell(i.NotInformed(party.name, "prompt"))
        return True
    played = await party.speaker.say(file)
    if party.leg.down is not None:
        return False
    if played is None or not played.whole:
        session.driver.tell(i.NotInformed(party.name, "short"))
        return True
    session.driver.tell(
        i.Informed(party.name, recorded),
        text_sha256=file.text_sha256,
        audio_sha256=file.audio_sha256,
        language=file.language,
        samples=file.samples,
        rate=file.rate,
        samples_sent=played.samples_sent,
    )
    refused = session.driver.state.standing(party.name) is Standing.REFUSED
    if recorded and session.driver.state.recording is Recording.DENIED and not refused:
        # The caller changed their mind while the agent was being told otherwise. Who refused was told so at once.
        session.hands.say(party.name, Message.AGENT_NOT_RECORDED)
    return True


async def _joined(session: "Session", step: Bridge, party: Party) -> None:
    """Both hear each other until the agent goes, or the time is up. A caller who goes ends the whole session."""
    codec = party.up.codec if party.up else "?"
    session.caller.speaker.hush()
    try:
        session.caller.leg.bridge(party.leg)
    except LegGone as error:
        log.info("call %s: %s", session.call, error)
        return
    session.bridged = True
    session.outcome = ("completed", "hangup")
    began = session.journal.now_ms()
    session.note("bridge.started", {"party": party.name, "codec": codec})
    reason = "hangup"
    try:
        limit = step.max_time.ms / 1000 if step.max_time else None
        async with asyncio.timeout(limit):
            await party.gone.wait()
    except TimeoutError:
        reason = "max_time"
    except asyncio.CancelledError:
        if session.caller.leg.down is None:
            reason = session.outcome[1]  # nobody hung up: the session ends, and knows why
        raise
    finally:
        session.bridged = False
        session.caller.leg.unbridge(party.leg)
        length = session.journal.now_ms() - began
        session.note("bridge.ended", {"party": party.name, "reason": reason, "duration_ms": length})
