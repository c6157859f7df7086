# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger process: the only writer, behind a Unix socket. The kernel says who is asking."""

import asyncio
import logging
import os
import socket as sockets
from collections.abc import Callable, Coroutine, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from ivr.ledger.access import Access, Gate
from ivr.ledger.calllines import CallLines
from ivr.ledger.clock import ClockWatch
from ivr.ledger.connection import Connection
from ivr.ledger.errors import LedgerError, LedgerFatal, LedgerMissing, LedgerRefused
from ivr.ledger.keeping import PersonalSettings
from ivr.ledger.log import Entry, Log
from ivr.ledger.opencalls import Inventory, OpenCalls
from ivr.ledger.people import Person
from ivr.ledger.protocol import INVALID, Ack, ProtocolError
from ivr.ledger.searching import Searching
from ivr.ledger.stats import LedgerStats
from ivr.ledger.validate import entry_of, erasing_of
from ivr.ledger.writer import GroupWriter

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """How the ledger behaves. Times in seconds."""

    socket: Path
    checkpoint_events: int = 1000
    checkpoint_seconds: float = 60.0
    reclaim_seconds: float = 1.0
    start_grace_seconds: float = 3.0
    access: Access = field(default_factory=Access)
    people: Path | None = None
    personal: PersonalSettings = field(default_factory=PersonalSettings)
    version: str = "0"


class LedgerService:
    """One event loop. Create, `await start()`, `await stop()`; `failed` resolves on the first write error."""

    def __init__(self, log: Log, settings: ServiceSettings, inventory: Inventory) -> None:
        self._log = log
        self._settings = settings
        self._inventory = inventory
        self._calls = OpenCalls()
        self._workers: dict[str, Connection] = {}
        self._connections: dict[Connection, int] = {}  # with the peer's user
        self._tasks: set[asyncio.Task[None]] = set()
        self._clock = ClockWatch()
        self._stopping = False
        self._gate = Gate(settings.access, settings.people)
        self._searching = Searching(log.personal, self._own)
        self._stats = LedgerStats()
        self._lines = CallLines()
        self._writer = GroupWriter(
            log,
            checkpoint_events=settings.checkpoint_events,
            checkpoint_seconds=settings.checkpoint_seconds,
            on_durable=self._durable,
        )

    @property
    def failed(self) -> "asyncio.Future[LedgerFatal]":
        """Resolves with the reason when nothing can be written any more."""
        return self._writer.failed

    @property
    def origin(self) -> str:
        """The log's name."""
        return self._log.origin

    async def start(self) -> None:
        """Log the start, listen, and settle the calls that an unclean stop left open. Raises LedgerError."""
        orphans = object()
        self._reopen(orphans)
        await self._own(Entry("node.started", None, {"version": self._settings.version}))
        self._server = await _listen(self._settings.socket, lambda: Connection(self))
        if self._calls.of(orphans):
            self._spawn(self._settle(orphans, self._settings.start_grace_seconds, "ledger-restarted"))

    async def stop(self, reason: str = "signal") -> None:
        """Stop reading, log the stop, make a last checkpoint. Calls still up are found by the next start."""
        self._stopping = True
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        for connection in list(self._connections):
            connection.shut()
        with suppress(LedgerFatal):
            await self._own(Entry("node.stopped", None, {"reason": reason}))
        await self._writer.close()
        self._log.close()
        # What cannot be removed now is removed by the next start.
        with suppress(OSError):
            self._settings.socket.unlink()

    def tick(self) -> None:
        """Called about once a second: looks at the clock and lets a due checkpoint be made."""
        step = self._clock.step_us()
        if step is not None:
            self._put(Entry("node.clock_stepped", None, {"step_us": step}))
        self._writer.tick()

    # -- asked by connections --

    def opened(self, connection: Connection) -> str | None:
        """Why this peer may not stay, or None."""
        uid, gid = connection.peer()
        why = None
        if self._stopping:
            why = "the ledger is stopping"
        elif not self._settings.access.allows(uid, gid):
            why = (
                f"uid {uid} with primary group {gid} may not use this ledger: root, its own user, the workers' user "
                "and those of its tools' group may"
            )
        if why is not None:
            _log.warning("refused a connection of uid %d gid %d: %s", uid, gid, why)
            return why
        self._connections[connection] = uid
        return None

    def hello(self, connection: Connection, live: list[str]) -> list[str]:
        """A peer says who it is and which calls it still drives; gives those that are no longer open."""
        if (connection.role == "worker" or live) and not self._settings.access.works(self._connections[connection]):
            raise ProtocolError("its user may not be a worker")
        lost = self._calls.claim(live, connection)
        if connection.role == "worker":
            if connection.worker not in self._workers:
                self._put(Entry("worker.joined", None, {"worker": connection.worker}))
            self._workers[connection.worker] = connection
        return lost

    def append(self, connection: Connection, n: int, message: dict[str, Any]) -> None:
        """Accept or refuse one event; the answer comes when it is durable."""

        def reply(ack: Ack | None, error: LedgerError | None) -> None:
            connection.answer(n, ack, error)

        try:
            entry = entry_of(message)
            self._may(connection, entry.type, message)
            # Sent again after a reconnect: its first copy may be durable, or on its way to the disk.
            if message.get("again") is True and self._writer.repeat(entry.id, reply):
                return
            self._calls.admit(entry, connection)
        except LedgerRefused as refusal:
            _log.error("refused an event of %s: %s", connection.worker, refusal)
            reply(None, refusal)
            return
        self._calls.note(entry, connection, monotonic())
        self._writer.put(entry, reply)

    def erase(self, connection: Connection, n: int, message: dict[str, Any]) -> None:
        """Accept or refuse an event that erases; the answer comes when event and erasure are durable."""
        try:
            entry = erasing_of(message, entry_of(message))
            self._may(connection, entry.type, message)
        except LedgerRefused as refusal:
            _log.error("refused an erasure of %s: %s", connection.worker, refusal)
            connection.answer(n, None, refusal)
            return
        self._writer.put(entry, lambda ack, error: connection.answer(n, ack, error))

    def find(self, connection: Connection, n: int, message: dict[str, Any]) -> None:
        """Look for the events of a number or a reference code; the answer comes from a thread of its own."""
        self._spawn(self._find(connection, n, message))

    async def _find(self, connection: Connection, n: int, message: dict[str, Any]) -> None:
        try:
            found = await self._searching.find(
                message.get("by"), message.get("value"), lambda kind: self._may(connection, kind, message)
            )
        except (LedgerRefused, LedgerFatal) as error:
            connection.answer(n, None, error)
            return
        except Exception:
            _log.exception("a search broke")
            connection.answer(n, None, LedgerRefused(INVALID, "the search broke; the ledger's own log says why"))
            return
        connection.found(n, [[match.seq, match.name, match.call, match.type] for match in found])

    def _may(self, connection: Connection, kind: str, message: dict[str, Any]) -> Person | None:
        return self._gate.person(self._connections.get(connection), connection.role, kind, message)

    def ping(self, reply: Callable[[], None]) -> None:
        """A peer wants to know whether this goes on; the answer waits for what is on its way to the disk."""
        self._writer.settled(reply)

    def stats(self) -> dict[str, Any]:
        """How the ledger is doing and what it counted since its start; nothing personal is in it."""
        return self._stats.as_json() | self._writer.state() | {"workers": len(self._workers)}

    def _durable(self, entry: Entry, waited_s: float) -> None:
        try:
            self._stats.durable(entry, waited_s)
            self._lines.durable(entry)
        except Exception:  # whatever it is: counting wrong must not stop the log
            _log.exception("%s is in the log and was not counted", entry.type)

    def closed(self, connection: Connection) -> None:
        """The connection is gone; its calls are lost unless the worker comes back at once."""
        if connection in self._connections and not self._stopping:
            self._spawn(self._settle(connection, self._settings.reclaim_seconds, "worker-lost"))
        self._connections.pop(connection, None)

    # -- own events --

    async def _settle(self, owner: Hashable, grace: float, why: str) -> None:
        """After the grace, say what became of the calls that nobody claimed."""
        if self._calls.of(owner) or isinstance(owner, Connection):
            await asyncio.sleep(grace)
        lost = 0
        for call in self._calls.of(owner):
            found = None
            try:
                found = {r: await asyncio.to_thread(self._inventory, call, r) for r in self._calls.recordings(call)}
            except Exception:  # whatever the storage has: other calls must go on being logged
                _log.exception("call %s is lost, but its recordings cannot be read: settled at the next start", call)
            # A disk takes its time, with this call and those before it: the worker may be back and drive it again.
            if not self._calls.owned(call, owner):
                continue
            lost += not self._calls.over(call)
            if found is not None:
                for entry in self._calls.lose(call, found, why, monotonic()):
                    self._put(entry)
                self._calls.drop(call)
        if isinstance(owner, Connection) and self._workers.get(owner.worker) is owner:
            del self._workers[owner.worker]
            self._put(Entry("worker.left", None, {"worker": owner.worker, "calls_lost": lost}))

    def _reopen(self, owner: Hashable) -> None:
        now, wall = monotonic(), datetime.now(UTC)
        for row, event in self._log.unfinished():
            age = (wall - datetime.fromisoformat(event.time)).total_seconds()
            entry = Entry(event.type, event.call, event.data, {}, row.id)
            self._calls.note(entry, owner, now - max(age, 0.0))

    def _put(self, entry: Entry) -> None:
        self._calls.note(entry, None, monotonic())
        self._writer.put(entry, lambda _ack, _error: None)

    async def _own(self, entry: Entry) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def reply(_ack: Ack | None, error: LedgerError | None) -> None:
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        self._writer.put(entry, reply)
        await done

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Calls that cannot be settled must not stay silent: without this the log would miss a loss.
            self._writer.fail(LedgerFatal(f"lost calls could not be settled: {error}"))


async def _listen(path: Path, factory: Callable[[], Connection]) -> asyncio.Server:
    listener = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        # The store's lock says that no other ledger runs, so a socket that is there is left from a crash.
        path.unlink(missing_ok=True)
        old = os.umask(0o117)
        try:
            listener.bind(str(path))
        finally:
            os.umask(old)
        return await asyncio.get_running_loop().create_unix_server(factory, sock=listener)
    except OSError as error:
        listener.close()
        raise LedgerMissing(f"cannot listen on {path}: {error.strerror or error}") from None
