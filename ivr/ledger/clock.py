# SPDX-License-Identifier: GPL-3.0-or-later
"""Notices when the wall clock is set: it then parts from the monotonic clock between two looks."""

import time
from collections.abc import Callable

STEP_NS = 1_000_000_000


class ClockWatch:
    """Slow adjustment (slewing) is followed silently; a step of more than a second is reported once."""

    def __init__(self, wall: Callable[[], int] = time.time_ns, steady: Callable[[], int] = time.monotonic_ns) -> None:
        self._wall = wall
        self._steady = steady
        self._offset = wall() - steady()

    def step_us(self) -> int | None:
        """By how many microseconds the wall clock was set since the last look, or None."""
        offset = self._wall() - self._steady()
        step, self._offset = offset - self._offset, offset
        return step // 1000 if abs(step) > STEP_NS else None
