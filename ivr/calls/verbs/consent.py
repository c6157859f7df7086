# SPDX-License-Identifier: GPL-3.0-or-later
"""consent: asks as the policy says, plays the notice whole, and waits for the machine's answer.

Nothing here decides: every fact goes to the machine, and every way out of this step ends unrecorded unless it said
otherwise.
"""

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from ivr.calls.hands import sent_facts
from ivr.calls.services import PromptUnavailable
from ivr.consent import inputs as i
from ivr.consent.machine import VERSION
from ivr.consent.policy import Mode, Policy
from ivr.consent.state import Standing
from ivr.flow.consent_step import Consent
from ivr.flow.notice import NoticeError
from ivr.flow.prompts import PromptError
from ivr.sip.leg import LegGone
from media.cache import PromptFile

if TYPE_CHECKING:
    from ivr.calls.session import Session

log = logging.getLogger(__name__)

LEAVES_S = 0.5
"""How long the word that a leg has ended may be on its way from SIP's thread."""


async def run(session: "Session", step: Consent) -> bool:
    """Whether the call may be recorded, as the machine settled it."""
    recordable = await _ask(session, step)
    # What the caller is told about it takes its turn now, before anything that the next step says.
    await asyncio.sleep(0)
    return recordable


async def _ask(session: "Session", step: Consent) -> bool:
    settled = session.hands.expect_settled()
    policy = step.policy(permit_timeout_ms=session.services.permit_timeout_ms)
    said = step.settings()
    session.driver.tell(i.Asked(policy), policy_sha256=step.policy_hash, machine=VERSION, settings=said)
    _said_before(session, policy)
    if settled.done():
        if step.mode is Mode.NEVER:
            await _say_never(session, step)
        return settled.result()
    try:
        spec = session.services.prompts.notice(step, session.flow.language)
        file = session.services.file(spec)
    except (NoticeError, PromptError, PromptUnavailable) as error:
        log.error("call %s: the notice cannot be played: %s", session.call, error)
        session.driver.tell(i.NoticeFailed("prompt"))
        return await settled
    async with session.caller.speaker.turn:
        await _play(session, file)
    return await settled


def _said_before(session: "Session", policy: Policy) -> None:
    """A no that came before it was asked for, and that no menu has taken: whoever knows the line need not wait."""
    early = session.keys.claim({policy.refuse_key, policy.withdraw_key})
    if early is not None and session.driver.state.caller is Standing.ASKED:
        session.driver.tell(i.Key(i.CALLER, early.key, early.source))


async def _say_never(session: "Session", step: Consent) -> None:
    """A line that never records says so; there is nothing to decide."""
    try:
        file = session.services.file(session.services.prompts.notice(step, session.flow.language))
    except (NoticeError, PromptError, PromptUnavailable) as error:
        log.error("call %s: %s", session.call, error)
        return
    await session.caller.speaker.say(file)


async def _has_left(session: "Session") -> bool:
    """Whether the caller is gone: that a notice could not begin on a leg that had ended is no fault of ours."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LEAVES_S):
            await session.caller.gone.wait()
    return session.caller.gone.is_set()


async def _play(session: "Session", file: PromptFile) -> None:
    if session.driver.state.caller is not Standing.ASKED:
        return  # refused while it waited for its turn
    try:
        playback = session.caller.speaker.begin(file)
        if playback is None:
            raise LegGone("the caller's leg cannot play")
    except LegGone as error:
        log.info("call %s: %s", session.call, error)
        if not await _has_left(session) and session.driver.state.caller is Standing.ASKED:  # no key came meanwhile
            session.driver.tell(i.NoticeFailed("leg"))
        return
    session.hands.notice_plays(playback)
    session.driver.tell(
        i.NoticeStarted(file.samples),
        text_sha256=file.text_sha256,
        audio_sha256=file.audio_sha256,
        language=file.language,
        rate=file.rate,
    )
    try:
        played = await playback.done
    finally:
        playback.stop()
    if not session.hands.notice_ended(playback):
        return  # it was stopped, and whoever stopped it has said so
    facts = sent_facts(session, played)
    if played.whole:
        facts.pop("samples_sent")
        session.driver.tell(i.NoticeCompleted(played.samples_sent, played.samples_total), **facts)
    else:
        session.driver.tell(i.NoticeInterrupted("short"), **facts)
