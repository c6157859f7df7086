# SPDX-License-Identifier: GPL-3.0-or-later
"""Group commit: events that arrive while a transaction is on its way to the disk share the next one.

The event loop only collects; signing and writing happen in one thread, so reading and media never wait for a disk.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic
from typing import Any

from ivr.ledger.errors import LedgerConflict, LedgerError, LedgerFatal, LedgerRefused
from ivr.ledger.event import EventError
from ivr.ledger.log import Entry, Log
from ivr.ledger.protocol import INVALID, Ack

_log = logging.getLogger(__name__)

MAX_BATCH = 512
# (acknowledgement, None) once durable, or (None, why).
Reply = Callable[[Ack | None, LedgerError | None], None]
# (entry, seconds since it was queued), for each one that became durable.
Durable = Callable[[Entry, float], None]


@dataclass(frozen=True, slots=True)
class _Waiting:
    entry: Entry
    replies: list[Reply]
    since: float


class GroupWriter:
    """Owned by the event loop. After the first write error it refuses everything and `failed` is set."""

    def __init__(
        self,
        log: Log,
        *,
        checkpoint_events: int,
        checkpoint_seconds: float,
        on_durable: Durable = lambda _entry, _waited: None,
    ) -> None:
        self._log = log
        self._on_durable = on_durable
        self._every = checkpoint_events
        self._seconds = checkpoint_seconds
        self._queue: deque[_Waiting] = deque()
        self._in_flight: dict[str, _Waiting] = {}
        self._thread = ThreadPoolExecutor(1, "ledger-writer")
        self._wake = asyncio.Event()
        self._sealed_at = monotonic()
        self._unsealed_since: float | None = monotonic() if log.unsealed else None
        self._closing = False
        self.failed: asyncio.Future[LedgerFatal] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())

    def put(self, entry: Entry, reply: Reply) -> None:
        """Queue an entry; order is kept."""
        if self.failed.done() or self._task.done():
            reply(None, self.failed.result() if self.failed.done() else LedgerFatal("the ledger has stopped"))
        elif entry.id in self._in_flight:
            reply(None, _duplicate(entry))
        else:
            waiting = _Waiting(entry, [reply], monotonic())
            self._in_flight[entry.id] = waiting
            self._queue.append(waiting)
            self._wake.set()

    def repeat(self, event_id: str, reply: Reply) -> bool:
        """Answer for an event that is in the log or on its way there already. False when it is neither."""
        waiting = self._in_flight.get(event_id)
        if waiting is not None:
            waiting.replies.append(reply)
            return True
        if self.failed.done():
            return False
        try:
            ack = self._log.find(event_id)
        except LedgerFatal as error:
            self.fail(error)
            return False
        if ack is not None:
            reply(ack, None)
        return ack is not None

    def state(self) -> dict[str, Any]:
        """How it is doing: what waits and for how long, and how old the newest checkpoint is. Times in seconds."""
        now, unsealed = monotonic(), self._log.unsealed
        oldest = next(iter(self._in_flight.values()), None)
        return {
            "writing": not self.failed.done() and not self._task.done(),
            "queue": len(self._in_flight),
            "oldest_s": now - oldest.since if oldest else 0.0,
            "size": self._log.size,
            "unsealed": unsealed,
            "unsealed_s": now - self._unsealed_since if unsealed and self._unsealed_since is not None else 0.0,
            "checkpoint_age_s": now - self._sealed_at,
        }

    def settled(self, reply: Callable[[], None]) -> None:
        """Calls back once all that was queued before this is on the disk; at once when nothing is on its way."""
        if self._in_flight:
            newest = next(reversed(self._in_flight.values()))
            newest.replies.append(lambda _ack, _error: reply())
        else:
            reply()

    def tick(self) -> None:
        """Called about once a second: makes a checkpoint when one is due. A database that went away ends the ledger."""
        try:
            self._log.check()
        except LedgerFatal as error:
            self.fail(error)
        self._wake.set()

    def fail(self, error: LedgerFatal) -> None:
        """Acknowledge nothing any more. What waits is refused with the reason."""
        if self.failed.done():
            return
        _log.critical("the log cannot be written, no event is acknowledged any more: %s", error)
        self.failed.set_result(error)
        waiting = list(self._in_flight.values())
        self._in_flight.clear()
        self._queue.clear()
        self._wake.set()
        for one in waiting:
            _answer(one, None, error)

    async def close(self) -> None:
        """Write what is queued and a last checkpoint, then stop. Errors are in `failed`."""
        self._closing = True
        self._wake.set()
        await asyncio.wait([self._task])
        self._thread.shutdown()

    async def _run(self) -> None:
        try:
            await self._commit_all()
        finally:
            # However this ends, nobody is left waiting for an answer that will not come, or takes it for alive.
            if self._in_flight or not self._closing:
                self.fail(LedgerFatal("the ledger stopped before this was written"))

    async def _commit_all(self) -> None:
        while not self.failed.done():
            await self._wake.wait()
            self._wake.clear()
            while (self._queue or self._due()) and not self.failed.done():
                await self._commit(self._batch())
            if self._closing:
                return

    def _batch(self) -> list[_Waiting]:
        """What goes into the next transaction. What erases goes alone: never tried twice for another's sake."""
        batch: list[_Waiting] = []
        while self._queue and len(batch) < MAX_BATCH:
            if batch and self._queue[0].entry.erases is not None:
                break
            batch.append(self._queue.popleft())
            if batch[-1].entry.erases is not None:
                break
        return batch

    async def _commit(self, batch: Sequence[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        try:
            acks = await loop.run_in_executor(self._thread, self._write, [w.entry for w in batch])
        except LedgerFatal as error:
            self.fail(error)
            return
        except Exception as error:  # whatever it was, the batch is not durable: this must end in `failed`
            self.fail(LedgerFatal(f"cannot append: {error!r}"))
            return
        now = monotonic()
        if not self._log.unsealed:
            self._unsealed_since = None
        elif self._unsealed_since is None:
            self._unsealed_since = now
        for waiting, done in zip(batch, acks, strict=True):
            if self._in_flight.pop(waiting.entry.id, None) is not None:
                if isinstance(done, Ack):
                    _answer(waiting, done, None)
                    self._on_durable(waiting.entry, now - waiting.since)
                else:
                    _answer(waiting, None, done)

    def _due(self) -> bool:
        unsealed = self._log.unsealed
        old = self._closing or monotonic() - self._sealed_at >= self._seconds
        return unsealed >= self._every or (unsealed > 0 and old)

    def _write(self, entries: Sequence[Entry]) -> list[Ack | LedgerRefused]:
        """In the writer thread. Raises LedgerFatal."""
        seal = self._log.unsealed + len(entries) >= self._every or self._due()
        try:
            acks: list[Ack | LedgerRefused] = list(self._log.append(entries, checkpoint=seal))
        except (LedgerConflict, EventError):
            # Nothing was written. Whichever it was is refused and does not take the others with it.
            return [self._write_one(entry) for entry in entries]
        if seal:
            self._sealed_at = monotonic()
        return acks

    def _write_one(self, entry: Entry) -> Ack | LedgerRefused:
        try:
            return self._log.append([entry])[0]
        except LedgerConflict:
            return _duplicate(entry)
        except EventError as error:
            return LedgerRefused(INVALID, str(error))


def _answer(waiting: _Waiting, ack: Ack | None, error: LedgerError | None) -> None:
    for reply in waiting.replies:
        reply(ack, error)


def _duplicate(entry: Entry) -> LedgerRefused:
    return LedgerRefused(INVALID, f"{entry.type}: an event with the id {entry.id} is in the log already")
