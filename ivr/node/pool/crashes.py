# SPDX-License-Identifier: GPL-3.0-or-later
"""How long to wait before the next worker after one that died. Pure: time is passed in."""

from collections import defaultdict

PAUSES_S = (0.0, 0.5, 2.0, 5.0)
STEADY_S = 10.0
"""A worker that lived so long did not die of how it was started."""

_START = -1


class Crashes:
    """Counts deaths in a row: of each slot, and over all of workers that never became ready."""

    def __init__(self) -> None:
        self._row: defaultdict[int, int] = defaultdict(int)
        self._until: dict[int, float] = {}

    def died(self, slot: int, now: float, lived: float, ready: bool) -> float:
        """Notes a death nobody asked for; how long no worker is to be started there, in seconds."""
        pauses = [self._note(slot, now, lived >= STEADY_S)]
        if not ready:
            pauses.append(self._note(_START, now, False))
        return max(pauses)

    def _note(self, which: int, now: float, steady: bool) -> float:
        pause = PAUSES_S[0 if steady else min(self._row[which], len(PAUSES_S) - 1)]
        self._row[which] = 0 if steady else self._row[which] + 1
        self._until[which] = now + pause
        return pause

    def started(self) -> None:
        """A worker became ready: whatever kept all of them from starting is over."""
        self._row.pop(_START, None)
        self._until.pop(_START, None)

    def may_start(self, slot: int, now: float) -> bool:
        """Whether a worker may be started there now."""
        return all(now >= self._until.get(which, now) for which in (slot, _START))
