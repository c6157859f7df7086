# SPDX-License-Identifier: GPL-3.0-or-later
"""hangup: says goodbye if the flow wants to, and ends the call."""

from typing import TYPE_CHECKING

from ivr.calls.verbs import play
from ivr.flow.verbs import Hangup

if TYPE_CHECKING:
    from ivr.calls.session import Session


async def run(session: "Session", step: Hangup) -> None:
    """The call's end is the session's business; here only what is heard before it."""
    if step.prompt is not None:
        await play.run(session, step.prompt)
    await session.hands.spoken()
    if session.outcome[0] == "abandoned":
        session.outcome = ("completed", "flow_ended")
