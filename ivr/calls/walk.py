# SPDX-License-Identifier: GPL-3.0-or-later
"""Walks a flow: section by section, step by step, each verb in a file of its own."""

from typing import TYPE_CHECKING

from ivr.calls.verbs import bridge, consent, hangup, menu, play, reference
from ivr.flow.consent_step import Consent
from ivr.flow.model import Step
from ivr.flow.verbs import Bridge, Goto, Hangup, Menu, Play, Reference

if TYPE_CHECKING:
    from ivr.calls.session import Session


async def walk(session: "Session") -> None:
    """From the flow's start to its end; a step may name the section that comes next."""
    section: str | None = session.flow.start
    while section is not None:
        section = await _section(session, section)


async def _section(session: "Session", name: str) -> str | None:
    for step in session.flow.sections[name]:
        # The caller may go between two steps, and before the first; nothing is asked of who has left.
        if session.caller.leg.down is not None:
            return None
        following = await _step(session, step)
        if following is not None:
            return following
        if isinstance(step, Hangup):
            return None
    return None


async def _step(session: "Session", step: Step) -> str | None:
    match step:
        case Consent():
            await consent.run(session, step)
        case Play():
            await play.run(session, step)
        case Menu():
            return await menu.run(session, step)
        case Bridge():
            return await bridge.run(session, step)
        case Reference():
            await reference.run(session, step)
        case Hangup():
            await hangup.run(session, step)
        case Goto():
            return step.section
    return None
