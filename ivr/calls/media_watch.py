# SPDX-License-Identifier: GPL-3.0-or-later
"""Notices a leg from which no RTP comes any more: a phone that crashed sends no BYE, and its call would stay."""

import asyncio
from collections.abc import Callable

from ivr.calls.party import Party
from ivr.sip.leg import LegGone

CHECKS = 4
"""How often within the time-out the counters are read."""


async def watch_media(parties: Callable[[], list[Party]], timeout_s: float) -> Party:
    """Returns the first party whose leg is up, not on hold, and silent on the network for `timeout_s`."""
    seen: dict[str, tuple[int, float]] = {}
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(timeout_s / CHECKS)
        for party in parties():
            packets = _received(party)
            if packets is None:
                seen.pop(party.name, None)
                continue
            before, since = seen.get(party.name, (-1, loop.time()))
            if packets != before:
                seen[party.name] = (packets, loop.time())
            elif loop.time() - since >= timeout_s:
                return party


def _received(party: Party) -> int | None:
    """RTP packets from this party, or None while none are due: not up, gone, on hold."""
    if party.up is None or party.held or party.leg.down is not None:
        return None
    try:
        return party.leg.traffic().received
    except LegGone:
        return None
