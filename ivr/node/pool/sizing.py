# SPDX-License-Identifier: GPL-3.0-or-later
"""How many workers there should be. Pure: time is passed in, the decision comes out."""

from collections import deque
from dataclasses import dataclass, field
from math import ceil

AHEAD_S = 2.0
"""How far a rise in calls is thought on: about as long as a worker takes to start on a busy machine."""

AT_ONCE = 4, 16
"""The fewest and the most workers that may be on their way up at the same time."""


def wanted(calls: int, per_worker: int, min_spare: int, most: int) -> int:
    """Workers for so many calls: what they fill, and the spare ones; at least one, at most `most`.

    It counts places, not idle workers: an edge that spreads evenly leaves no worker idle long before all are full.
    """
    return max(1, min(most, ceil(calls / per_worker) + min_spare))


@dataclass(slots=True)
class Sizer:
    """Grows at once; shrinks by what was not needed at any moment of `idle_s`.

    Spare are `min_spare` workers, or as many as would carry once more the calls that came to the others in AHEAD_S.
    """

    per_worker: int
    min_spare: int
    most: int
    idle_s: float
    _since: float | None = None
    _least: int = 0
    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    @property
    def at_once(self) -> int:
        """How many may start at the same time: while so many do, the spare ones take the calls."""
        least, most = AT_ONCE
        return max(least, min(self.min_spare, most))

    def step(self, now: float, workers: int, calls: int) -> int:
        """How many to start (above 0) or to take out (below 0) when so many serve and carry so many calls."""
        spare = max(self.min_spare, ceil(self._rise(now, calls) / self.per_worker))
        missing = wanted(calls, self.per_worker, spare, self.most) - workers
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

    def _rise(self, now: float, calls: int) -> int:
        while self._seen and self._seen[0][0] < now - AHEAD_S:
            self._seen.popleft()
        self._seen.append((now, calls))
        return max(0, calls - self._seen[0][1])
