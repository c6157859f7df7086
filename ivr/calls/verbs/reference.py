# SPDX-License-Identifier: GPL-3.0-or-later
"""reference: a code for this call, spoken digit by digit. It is spoken only once its keyed hash is durable."""

import asyncio
import logging
from typing import TYPE_CHECKING

from ivr.flow.verbs import Reference
from ivr.ledger.errors import LedgerRefused, LedgerUnavailable
from ivr.ledger.reference import DIGITS, groups, new_reference

if TYPE_CHECKING:
    from ivr.calls.session import Session

log = logging.getLogger(__name__)

DURABLE_S = 3.0
"""How long the ledger may take; a caller in silence hangs up."""


async def run(session: "Session", step: Reference) -> None:
    """Makes a code, has its hash kept, speaks it. A code that could not be kept is not spoken."""
    digits = new_reference()
    made = session.journal.write("reference.made", {"digits": DIGITS}, queue=False, index={"reference": digits})
    try:
        await asyncio.wait([made], timeout=DURABLE_S)
        if not made.done():
            raise TimeoutError
        made.result()
    except (LedgerRefused, LedgerUnavailable, TimeoutError) as error:
        log.error("call %s: no reference code: %s", session.call, error or "the ledger is slow")
        await _say(session, "technical_problem")
        return
    begun, whole = 0, False
    for time in range(step.times):
        if session.caller.leg.down is not None:
            break
        begun += 1
        whole |= await _speak(
            session, digits, "reference_intro" if time == 0 else "reference_again", step.pause.seconds
        )
    session.note("reference.spoken", {"times": begun, "whole": whole})


async def _speak(session: "Session", digits: str, before: str, pause: float) -> bool:
    whole = await _say(session, before)
    for group in groups(digits):
        for digit in group:
            whole &= await _say(session, f"digit_{digit}")
        await asyncio.sleep(pause)
    return whole


async def _say(session: "Session", name: str) -> bool:
    """Whether it was sent to its last sample."""
    file = session.message(name)
    if file is None or session.caller.leg.down is not None:
        return False
    played = await session.caller.speaker.say(file)
    return played is not None and played.whole
