# SPDX-License-Identifier: GPL-3.0-or-later
"""menu: a prompt, a key, a section. A key during the prompt, or typed ahead of it, counts."""

import asyncio
from typing import TYPE_CHECKING

from ivr.calls.verbs import play
from ivr.flow.verbs import Menu

if TYPE_CHECKING:
    from ivr.calls.session import Session


async def run(session: "Session", step: Menu) -> str:
    """The section of the key, or the way out after the last retry."""
    for _ in range(step.retries + 1):
        key = await _ask(session, step)
        if key in step.keys:
            return step.keys[key]
        if key is not None and step.invalid is not None:
            await play.run(session, step.invalid)
    return step.otherwise


async def _ask(session: "Session", step: Menu) -> str | None:
    """The first key that is pressed, during the prompt or within the time-out after it."""
    if (key := session.keys.typed_ahead()) is not None:
        return key  # whoever knows the menu does not have to hear it
    heard = asyncio.Event()
    waiting = asyncio.ensure_future(session.keys.next())
    waiting.add_done_callback(lambda _: heard.set())
    try:
        await play.run(session, step.prompt, stop=heard)
        await asyncio.wait([waiting], timeout=step.timeout.ms / 1000)
        return waiting.result() if waiting.done() else None
    finally:
        waiting.cancel()
