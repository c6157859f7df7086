# SPDX-License-Identifier: GPL-3.0-or-later
"""When the recorders of a worker are emptied: all in one turn of the event loop, while its code is in cache."""

import asyncio
from collections.abc import Callable

DRAIN_S = 1.536
"""How often memory is emptied, six of PJMEDIA's buffers: with the 300 ms that are held back, and time for encoding and
disk, what is not sealed yet stays below 2 s. Each drain makes one segment; a drain wakes a sleeping worker."""


class Drains:
    """One timer, from the first recording's start to the last one's end. For the event loop's thread."""

    def __init__(self) -> None:
        self._members: list[Callable[[], None]] = []
        self._timer: asyncio.TimerHandle | None = None

    def join(self, drain: Callable[[], None]) -> None:
        """From now on `drain` is called every DRAIN_S, the first time with the others', if there are any."""
        self._members.append(drain)
        if self._timer is None:
            self._arm()

    def leave(self, drain: Callable[[], None]) -> None:
        """The end of `join`; harmless without it."""
        if drain in self._members:
            self._members.remove(drain)
        if not self._members and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(DRAIN_S, self._turn)

    def _turn(self) -> None:
        self._arm()
        for drain in list(self._members):
            # One that fails may take itself or another out.
            if drain in self._members:
                drain()
