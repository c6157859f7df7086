# SPDX-License-Identifier: GPL-3.0-or-later
"""One call from INVITE to its last event: the caller's party, the flow's walk, consent, and an orderly end.

One coroutine a call (`run`), which is cancelled as a whole when the caller hangs up. Leg events come in on the event
loop and go straight to the consent machine; only what it does not want reaches the flow.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from ivr.calls.driver import Driver
from ivr.calls.hands import CallHands
from ivr.calls.journal import Journal
from ivr.calls.keys import Keys, Pressed
from ivr.calls.media_watch import watch_media
from ivr.calls.party import Party, key_paths
from ivr.calls.services import PromptUnavailable, Services
from ivr.calls.walk import walk
from ivr.calltrace import PERSONAL, TRACE, Trace
from ivr.consent import inputs as i
from ivr.consent.state import PARTY_WAITS, Standing
from ivr.flow.model import Flow
from ivr.ledger.ids import uuid7
from ivr.sip.events import Digit, Down, Invite, LegEvent, MediaChanged, PreferenceChanged, Up
from ivr.sip.leg import Leg, LegGone
from ivr.sip.quality import Quality
from ivr.sip.sdp import user_of
from media.cache import PromptFile
from media.dtmf import DtmfDetector

log = logging.getLogger(__name__)

ANSWERED_S = 10.0
"""How long after our 200 the ACK and the media may take. A stranger who sends neither must not hold a leg for long."""

END_S = 8.0
"""How long the end of a call may wait for its recorder and its legs; every one of them has a time-out of its own."""

_SOURCE = {"dtmf": i.Source.DTMF, "info": i.Source.INFO, "inband": i.Source.INBAND}


class Session:
    """All data of one call. Nothing of a call is kept anywhere else."""

    def __init__(self, services: Services, leg: Leg, invite: Invite, flow: Flow, flow_sha256: str) -> None:
        loop = asyncio.get_running_loop()
        self.services = services
        self.flow = flow
        self.call = uuid7()
        self.trace = Trace(self.call, invite.edge)
        self.since = time.time()
        self.journal = Journal(services.ledger, self.call, loop)
        self.caller = Party(i.CALLER, leg)
        self.agent: Party | None = None
        self.agents = 0
        self.bridged = False
        self.hands = CallHands(self)
        self.driver = Driver(self.journal, self.hands, loop)
        self.keys = Keys()
        """Keys that the consent machine did not want and no bridge passed on: a menu's, or a no that came early."""
        self.outcome = ("abandoned", "hangup")
        self._invite = invite
        self._answered: asyncio.Future[Up] = loop.create_future()
        self._over = asyncio.Event()
        self._flow_sha256 = flow_sha256

    # -- life ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """The whole call. Returns when its last event has been handed to the ledger."""
        TRACE.set(self.trace)
        self._log_received()
        self.caller.leg.listen(lambda event: self.on_event(self.caller, event))
        flow = asyncio.ensure_future(self._walk())
        over = asyncio.ensure_future(self._over.wait())
        dead = asyncio.ensure_future(watch_media(self._parties, self.services.media_timeout_ms / 1000))
        ends: list[asyncio.Future[Any]] = [flow, over, dead]
        try:
            limit = self.services.max_call_ms / 1000
            done, _ = await asyncio.wait(ends, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if dead in done:
                self.outcome = ("failed", "no_media")
            elif not done:
                self.outcome = ("completed", "max_call_time")
        finally:
            over.cancel()
            dead.cancel()
            flow.cancel()
            with suppress(asyncio.CancelledError):
                await flow
            await self._end()
            PERSONAL.over(self.call)

    def _parties(self) -> list[Party]:
        return [self.caller, *([self.agent] if self.agent else [])]

    def _log_received(self) -> None:
        invite = self._invite
        self.masks((user_of(invite.caller), invite.dialled, invite.sip_call_id))
        edge = {"edge": self.trace.edge} if self.trace.edge else {}
        self.journal.write(
            "call.received",
            {"flow": self.flow.name, "worker": self.services.worker, "flow_sha256": self._flow_sha256, **edge},
            {
                "caller": user_of(self._invite.caller),
                "dialled": self._invite.dialled,
                "sip_call_id": self._invite.sip_call_id,
            },
        )
        if self._invite.preference is not None:
            self.driver.tell(i.Preferred(i.CALLER, i.Preference(self._invite.preference)))

    async def _walk(self) -> None:
        try:
            self.caller.leg.answer()
            if not await self._media_is_up():
                self.outcome = ("failed", "no_media")
                return
            await walk(self)
        except LegGone as error:
            log.info("call %s: the caller's leg is gone: %s", self.call, error)
        except Exception:
            # The call ends in order whatever a verb met; evidence of it is the outcome, the cause is in the log.
            log.exception("call %s: the flow broke", self.call)
            self.outcome = ("failed", "internal")

    async def _end(self) -> None:
        """Hangs up whoever is left, waits for the recorder, writes the last event."""
        self.caller.leg.hangup()
        self.hands.notice_cut("hangup")
        self.left(self.caller, "hangup" if self.caller.leg.down else "server")
        agent = self.agent
        if agent is not None:
            agent.leg.hangup()
            self.left(agent, "call_ended")
        with suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await self.hands.closed()
        self.driver.close()
        self.journal.leave()
        outcome, reason = self.outcome
        self.journal.write("call.ended", {"outcome": outcome, "reason": reason})

    def masks(self, values: Iterable[str]) -> None:
        """From here on no line shows these."""
        PERSONAL.keep(self.call, values)

    @property
    def caller_number(self) -> str:
        """The user part of the caller's From, for the agent's display."""
        return user_of(self._invite.caller)

    async def _media_is_up(self) -> bool:
        """Whether the caller acknowledged the 200 and has audio, in time: an INVITE may offer none (a=inactive)."""
        await asyncio.wait([self._answered], timeout=min(ANSWERED_S, self.services.media_timeout_ms / 1000))
        return self._answered.done()

    # -- events of the legs --------------------------------------------------------------------------------------

    def on_event(self, party: Party, event: LegEvent) -> None:
        """What a leg reports, on the event loop, as it happens."""
        match event:
            case Up():
                self._up(party, event)
            case Digit(key, by):
                self._digit(party, key, _SOURCE[by.value])
            case PreferenceChanged(preference):
                self.driver.tell(i.Preferred(party.name, i.Preference(preference)))
            case MediaChanged():
                self._media(party, event)
            case Down(quality=quality):
                self._down(party, quality)

    def _up(self, party: Party, up: Up) -> None:
        party.up = up
        self._hear_inband(party, up)
        if party is self.caller and not self._answered.done():
            self.driver.tell(i.Answered(self._paths(up)), codec=up.codec)
            self._answered.set_result(up)

    def _hear_inband(self, party: Party, media: Up | MediaChanged) -> None:
        """Where a phone has no telephone-event and the operator wants it, keys are listened for in the audio."""
        if self.services.inband_keys and not media.telephone_event:
            try:
                party.leg.hear_inband(self.services.rate, DtmfDetector(self.services.rate).feed)
            except LegGone as error:
                log.warning("call %s: no in-band detection for %s: %s", self.call, party.name, error)

    def _paths(self, media: Up | MediaChanged) -> frozenset[i.KeyPath]:
        info = self.services.info_keys and self._invite.allows_info
        return key_paths(media, info=info, inband=self.caller.leg.hears_inband)

    def _digit(self, party: Party, key: str, source: i.Source) -> None:
        said = i.Key(party.name, key, source)
        if self.driver.would_matter(said):
            self.driver.tell(said)
        elif self.bridged and self.agent is not None:
            other = self.agent if party is self.caller else self.caller
            with suppress(LegGone):
                other.leg.send_digit(key)
        elif party is self.caller and not self._says_again(key):
            self.keys.put(Pressed(key, source))

    def _says_again(self, key: str) -> bool:
        """A consent key, pressed once more in the consent step or while its answer is spoken: no menu's choice."""
        state = self.driver.state
        policy = state.policy
        if policy is None or key not in (policy.refuse_key, policy.accept_key, policy.withdraw_key):
            return False
        return state.caller in PARTY_WAITS or self.hands.answers

    def _media(self, party: Party, media: MediaChanged) -> None:
        self._hear_inband(party, media)
        if media.held and not party.held:
            self.driver.tell(i.Held(party.name))
        elif party.held and not media.held:
            # The offer that ends a hold may leave out the keys; known before anything is recorded again.
            if party is self.caller and self._paths(media) != self.driver.state.key_paths:
                self.driver.tell(i.Renegotiated(party.name, self._paths(media)))
            self.driver.tell(i.Resumed(party.name))
        elif not media.held:
            paths = self._paths(media) if party is self.caller else frozenset()
            self.driver.tell(i.Renegotiated(party.name, paths))
        party.held = media.held

    def _down(self, party: Party, quality: Quality | None) -> None:
        if quality is not None:
            self.services.media.leg_ended(party.name, quality)
        party.speaker.cut()
        party.gone.set()
        if party is self.caller:
            if not self._answered.done() and self.outcome[0] == "abandoned":
                self.outcome = ("abandoned", "cancelled")
            self.hands.notice_cut("hangup")
            self.left(party, "hangup")
            self._over.set()
        elif party is self.agent:
            self.left(party, "hangup")

    def left(self, party: Party, reason: str) -> None:
        """A party's leg is gone; once is enough."""
        if self.driver.state.standing(party.name) not in (None, Standing.LEFT):
            self.driver.tell(i.Left(party.name, reason))

    # -- for the verbs -------------------------------------------------------------------------------------------

    def message(self, name: str) -> PromptFile | None:
        """A standard message in the flow's language, or None (logged) when its file cannot be used."""
        spec = self.services.prompts.message(name, self.flow.language)
        try:
            return self.services.file(spec)
        except PromptUnavailable as error:
            log.error("call %s: %s", self.call, error)
            return None

    def note(self, kind: str, data: Mapping[str, object]) -> None:
        """Logs a fact that the consent machine has no interest in."""
        self.journal.write(kind, data)

    def end(self, reason: str) -> None:
        """Ends the call from our side; the log says why."""
        self.outcome = (self.outcome[0], reason)
        self._over.set()

    def ledger_lost(self) -> None:
        """The worker has no ledger any more: a permit or a recording that depends on it ends."""
        self.driver.tell(i.LedgerLost("ledger"))

    def object(self) -> None:
        """The operator's objection: from here on not recorded."""
        self.driver.tell(i.Preferred(i.CALLER, i.Preference.OFF, i.Source.OPERATOR))
