# SPDX-License-Identifier: GPL-3.0-or-later
"""play: one prompt to the caller."""

import logging
from typing import TYPE_CHECKING

from ivr.calls.services import PromptUnavailable
from ivr.flow.prompts import PromptError
from ivr.flow.spoken import Prompt

if TYPE_CHECKING:
    import asyncio

    from ivr.calls.session import Session

log = logging.getLogger(__name__)


async def run(session: "Session", step: Prompt, *, stop: "asyncio.Event | None" = None) -> None:
    """Plays to the end, or until `stop`. A prompt that cannot be played is logged and passed over."""
    try:
        spec = session.services.prompts.prompt(step, session.flow.language)
        file = session.services.file(spec)
    except (PromptError, PromptUnavailable) as error:
        log.error("call %s: %s", session.call, error)
        return
    await session.caller.speaker.say(file, stop=stop)
