# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps pjsua2's objects for a moment after their last use.

PJSIP takes a port off the bridge at the clock's next tick and delivers end-of-file from a media thread; a thread of its
may have found a call and still wait for the interpreter. An object that is destroyed in between is called after its
death. So nothing is destroyed in the moment in which it is disconnected.
"""

import asyncio
from collections.abc import Callable

LINGER_S = 1.0


class Linger:
    """`keep` is for any thread, the rest for the event loop's."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._kept: dict[int, tuple[object, Callable[[], None] | None]] = {}

    def keep(self, item: object, last: Callable[[], None] | None = None) -> None:
        """Holds the item for LINGER_S, calls `last` and lets it go."""
        self._kept[id(item)] = item, last
        self._loop.call_soon_threadsafe(self._loop.call_later, LINGER_S, self._let_go, id(item))

    def _let_go(self, number: int) -> None:
        _item, last = self._kept.pop(number, (None, None))
        if last is not None:
            last()

    def clear(self) -> None:
        """Lets everything go now. Only before the library is destroyed, when no clock runs any more."""
        for number in list(self._kept):
            self._let_go(number)
