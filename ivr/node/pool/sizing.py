# SPDX-License-Identifier: GPL-3.0-or-later
"""How many workers there should be. Pure: time is passed in, the decision comes out."""

from dataclasses import dataclass
from math import ceil


def wanted(calls: int, per_worker: int, min_spare: int, most: int) -> int:
    """Workers for so many calls: what they fill, and the spare ones; at least one, at most `most`.

    It counts places, not idle workers: an edge that spreads evenly leaves no worker idle long before all are full.
    """
    return max(1, min(most, ceil(calls / per_worker) + min_spare))


@dataclass(slots=True)
class Sizer:
    """Grows at once; shrinks by what was not needed at any moment of `idle_s`."""

    per_worker: int
    min_spare: int
    most: int
    idle_s: float
    _since: float | None = None
    _least: int = 0

    def step(self, now: float, workers: int, calls: int) -> int:
        """How many to start (above 0) or to take out (below 0) when so many serve and carry so many calls."""
        missing = wanted(calls, self.per_worker, self.min_spare, self.most) - workers
        if missing >= 0:
            self._since = None
            return missing
        if self._since is None:
            self._since, self._least = now, -missing
        self._least = min(self._least, -missing)
        if now - self._since < self.idle_s:
            return 0
        self._since = None
        return -self._least
