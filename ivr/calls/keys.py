# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys that a caller pressed and that nobody has used yet. A menu takes them in order, and the consent step its own."""

import asyncio
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from ivr.consent.inputs import Source


@dataclass(frozen=True, slots=True)
class Pressed:
    """One key, and how it was heard."""

    key: str
    source: Source


class Keys:
    """Owned by the event loop; one menu waits at a time."""

    def __init__(self) -> None:
        self._waiting: deque[Pressed] = deque()
        self._came = asyncio.Event()

    def put(self, pressed: Pressed) -> None:
        """A key that nobody has used."""
        self._waiting.append(pressed)
        self._came.set()

    def typed_ahead(self) -> str | None:
        """The first key that waits already, or None."""
        return self._waiting.popleft().key if self._waiting else None

    async def next(self) -> str:
        """The next key."""
        while not self._waiting:
            self._came.clear()
            await self._came.wait()
        return self._waiting.popleft().key

    def claim(self, keys: Collection[str | None]) -> Pressed | None:
        """Takes out all presses of these keys, and gives the first: more of them say the same again."""
        first = next((pressed for pressed in self._waiting if pressed.key in keys), None)
        self._waiting = deque(pressed for pressed in self._waiting if pressed.key not in keys)
        return first
