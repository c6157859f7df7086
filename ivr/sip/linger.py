# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps media objects for a moment after their last use.

PJSIP takes a port off the bridge at the clock's next tick and delivers end-of-file from a media thread; an object that
is destroyed in between is called after its death. So nothing is destroyed in the moment in which it is disconnected.
"""

import asyncio

LINGER_S = 1.0


class Linger:
    """For the event loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._kept: dict[int, object] = {}

    def keep(self, item: object) -> None:
        """Holds the item for LINGER_S, then lets it go."""
        self._kept[id(item)] = item
        self._loop.call_later(LINGER_S, self._kept.pop, id(item), None)

    def clear(self) -> None:
        """Lets everything go now. Only before the library is destroyed, when no clock runs any more."""
        self._kept.clear()
