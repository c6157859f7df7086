# SPDX-License-Identifier: GPL-3.0-or-later
"""One party of a call: its leg, what it hears, and what its leg reports."""

import asyncio

from ivr.calls.speaker import Speaker
from ivr.consent.inputs import KeyPath
from ivr.sip.events import MediaChanged, Up
from ivr.sip.leg import Leg


class Party:
    """`name` is caller, agent-1, agent-2, … `up` is set once its leg is answered and has media."""

    def __init__(self, name: str, leg: Leg) -> None:
        self.name = name
        self.leg = leg
        self.speaker = Speaker(leg)
        self.up: Up | None = None
        self.held = False
        self.gone = asyncio.Event()


def key_paths(party_up: Up | MediaChanged, *, info: bool, inband: bool) -> frozenset[KeyPath]:
    """How a key could be heard on a leg (promise 5). `info`, `inband`: whether those ways are open on this leg."""
    paths = {KeyPath.RFC4733} if party_up.telephone_event else set()
    if info:
        paths.add(KeyPath.INFO)
    if inband and not party_up.telephone_event:
        paths.add(KeyPath.INBAND)
    return frozenset(paths)
