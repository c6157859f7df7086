# SPDX-License-Identifier: GPL-3.0-or-later
"""One call's events on their way to the ledger, each with its time on the call's own clock."""

import asyncio
from collections.abc import Mapping
from typing import Any

from ivr.ledger.client import Ack, LedgerClient


class Journal:
    """Writes the events of one call in order. `now_ms` counts from the moment the call was received."""

    def __init__(self, ledger: LedgerClient, call: str, loop: asyncio.AbstractEventLoop) -> None:
        self._ledger = ledger
        self._loop = loop
        self._started = loop.time()
        self.call = call

    def now_ms(self) -> int:
        """Milliseconds since the call was received, monotonic."""
        return int((self._loop.time() - self._started) * 1000)

    def attend(self) -> None:
        """Something is recorded: a ledger that hangs is to be noticed, though this call may have nothing to say."""
        self._ledger.attend(self.call)

    def leave(self) -> None:
        """Nothing is recorded any more."""
        self._ledger.leave(self.call)

    def write(
        self,
        kind: str,
        data: Mapping[str, Any],
        personal: Mapping[str, Any] | None = None,
        *,
        at_ms: int | None = None,
        queue: bool = True,
        index: Mapping[str, str] | None = None,
    ) -> "asyncio.Future[Ack]":
        """Hands an event to the ledger; the future is done when it is durable. Nobody has to wait for it.

        `queue=False` is for permits: no ledger now means no permit, not a permit later. What is in `index` is kept as
        a keyed hash alone, under which the event is found again.
        """
        stamped = {"at_ms": self.now_ms() if at_ms is None else at_ms, **data}
        more = {"index": index} if index else {}
        return self._ledger.append(kind, call=self.call, data=stamped, personal=personal, queue=queue, **more)
