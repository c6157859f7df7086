# SPDX-License-Identifier: GPL-3.0-or-later
"""How well the audio of this worker's calls travelled. Counted once a leg, when it ends: calls pay nothing for it."""

from typing import Any

from ivr.histogram import Histogram
from ivr.sip.quality import Quality

JITTER_S = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
LOSS = (0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)

SIDES = ("caller", "agent")


class MediaTally:
    """Owned by the worker's event loop. One for all its calls."""

    def __init__(self) -> None:
        self._packets = {side: dict.fromkeys(("received", "lost", "discarded", "far_lost"), 0) for side in SIDES}
        self._jitter = {side: Histogram(JITTER_S) for side in SIDES}
        self._loss = {side: Histogram(LOSS) for side in SIDES}

    def leg_ended(self, party: str, quality: Quality) -> None:
        """A leg with audio is over. `party`: caller, agent-1, …"""
        side = SIDES[party != SIDES[0]]
        packets = self._packets[side]
        packets["received"] += quality.received
        packets["lost"] += quality.lost
        packets["discarded"] += quality.discarded
        packets["far_lost"] += quality.far_lost
        if expected := quality.received + quality.lost:
            self._jitter[side].observe(quality.jitter_s)
            self._loss[side].observe((quality.lost + quality.discarded) / expected)

    def as_json(self) -> dict[str, Any]:
        """By side, as it goes over a socket."""
        return {
            side: {
                "packets": dict(self._packets[side]),
                "jitter": self._jitter[side].as_json(),
                "loss": self._loss[side].as_json(),
            }
            for side in SIDES
        }
