# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's side of the ledger: appends in order, waits for durability, survives a restart of the ledger."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Literal, cast

from ivr.ledger.canonical import Json
from ivr.ledger.errors import LedgerError, LedgerRefused, LedgerUnavailable
from ivr.ledger.ids import uuid7
from ivr.ledger.patience import Patience
from ivr.ledger.protocol import CLOSED, FATAL, VERSION, Ack, ProtocolError, Unpacker, closed, pack
from ivr.ledger.seldom import Seldom

__all__ = ["Ack", "LedgerClient", "LedgerRefused", "LedgerUnavailable"]

_log = logging.getLogger(__name__)

MAX_QUEUE = 20_000
BACKOFF_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
CLOSE_S = 5.0
HELLO_S = 5.0
_PING = pack({"op": "ping"})


@dataclass(frozen=True, slots=True)
class _Pending:
    message: dict[str, Any]
    done: "asyncio.Future[Ack]"
    queue: bool


class LedgerClient:
    """One connection that is made again when it drops. Owned by one event loop; not for other threads."""

    def __init__(
        self, socket: Path, worker: str, role: str, live_calls: Callable[[], list[str]], patience: float | None
    ) -> None:
        self._socket = socket
        self._worker = worker
        self._role = role
        self._live_calls = live_calls
        self._pending: dict[int, _Pending] = {}
        self._next = 0
        self._line: _Line | None = None
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self._patience = Patience(patience, self._waits, self._ping, self._state) if patience else None
        self._up = True
        self._seldom = Seldom(_log, monotonic)
        self.on_state: Callable[[bool], None] | None = None
        """Told False when the ledger is gone or hangs, and True when it answers again."""
        self.on_lost: Callable[[list[str]], None] | None = None

    @classmethod
    async def connect(
        cls,
        socket: Path,
        worker: str,
        *,
        live_calls: Callable[[], list[str]] = list,
        role: Literal["worker", "tool"] = "worker",
        wait: float = 0.0,
        patience: float | None = None,
    ) -> "LedgerClient":
        """Connect, trying for `wait` seconds. Raises LedgerUnavailable. Later drops are mended in the background.

        `live_calls` is asked at each connection: calls the worker still drives, so that they are not taken for lost.
        `patience`: seconds after which a connected ledger that answers nothing counts as gone; None waits for ever.
        """
        client = cls(socket, worker, role, live_calls, patience)
        deadline = asyncio.get_running_loop().time() + wait
        while True:
            try:
                await client._open()
                break
            except (OSError, ProtocolError, TimeoutError) as error:
                if asyncio.get_running_loop().time() >= deadline:
                    raise LedgerUnavailable(f"no ledger at {socket}: {_why(error)}") from None
                await asyncio.sleep(BACKOFF_S[0])
        client._task = asyncio.create_task(client._keep())
        return client

    @property
    def connected(self) -> bool:
        """Whether an append would be sent now, and answered as far as is known."""
        hangs = self._patience is not None and self._patience.lost
        return self._line is not None and not self._line.lost.done() and not hangs

    def attend(self, call: str) -> None:
        """From now on this call wants to know at once when the ledger hangs, though it has nothing to say."""
        if self._patience is not None:
            self._patience.attend(call)

    def leave(self, call: str) -> None:
        """The end of `attend`; harmless without it."""
        if self._patience is not None:
            self._patience.leave(call)

    def append(
        self,
        type: str,
        *,
        call: str | None,
        data: Mapping[str, Json],
        personal: Mapping[str, Json] | None = None,
        queue: bool = True,
        index: Mapping[str, str] | None = None,
    ) -> "asyncio.Future[Ack]":
        """Send an event; the future resolves when it is durable, or fails with LedgerRefused/LedgerUnavailable.

        `queue=True`: kept in order while disconnected and sent again after a reconnect, under the same id, so that it
        is in the log once. `queue=False` (permits): fails at once when not connected or when the connection drops.
        """
        done: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
        # Many events are sent without anybody awaiting them; their failures are logged here.
        done.add_done_callback(_retrieved)
        if self._closing or (not queue and not self.connected):
            done.set_exception(LedgerUnavailable(f"{type}: not connected to the ledger"))
            return done
        if len(self._pending) >= MAX_QUEUE:
            return self._refuse(
                done, "full", LedgerUnavailable(f"{type}: {MAX_QUEUE} events wait for the ledger already")
            )
        self._next += 1
        message: dict[str, Any] = {"op": "append", "n": self._next, "id": uuid7(), "type": type, "call": call}
        message |= {"data": dict(data), "personal": dict(personal or {})}
        if index:
            message["index"] = dict(index)
        try:
            frame = pack(message)
        except ProtocolError as error:
            return self._refuse(done, type, LedgerRefused("invalid", f"{type}: {error}"))
        self._pending[self._next] = _Pending(message, done, queue)
        self._idle.clear()
        if self._line is not None:
            self._line.write(frame)
            if self._patience is not None:
                self._patience.sent()
        return done

    def _refuse(self, done: "asyncio.Future[Ack]", kind: str, error: LedgerError) -> "asyncio.Future[Ack]":
        """Here already. Most events are awaited by nobody, so a line must say that this one will not be in the log."""
        self._seldom.error(kind, f"an event is lost: {error}")
        done.set_exception(error)
        return done

    async def close(self, timeout: float = CLOSE_S) -> None:
        """Wait for what is queued (at most `timeout` seconds), then close. What is left fails."""
        self._closing = True
        if self._patience is not None:
            self._patience.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._line is not None:
            self._line.shut()
            await self._line.lost
        self._fail(lambda _pending: True)

    async def _open(self) -> None:
        """Connect, say hello, send again what was not acknowledged."""
        line = _Line(self._answered)
        await asyncio.get_running_loop().create_unix_connection(lambda: line, str(self._socket))
        try:
            hello = {"op": "hello", "v": VERSION, "worker": self._worker, "role": self._role}
            line.write(pack(hello | {"live": self._ours()}))
            async with asyncio.timeout(HELLO_S):
                lost = await line.welcome
        except BaseException:
            line.shut()
            raise
        if self._patience is not None:
            self._patience.begin_again()
            self._patience.sent()
        for pending in self._pending.values():
            line.write(pack(pending.message | {"again": True}))
        self._line = line
        if lost and self.on_lost is not None:
            self.on_lost(lost)
        self._state(True)

    def _ours(self) -> list[str]:
        """Calls that are up, and those that have ended meanwhile with events still to be sent: all are ours to end."""
        unsent = [pending.message["call"] for pending in self._pending.values() if pending.message["call"]]
        return list(dict.fromkeys([*self._live_calls(), *unsent]))

    async def _keep(self) -> None:
        """Wait for the connection to drop, make it again, for ever."""
        while True:
            if self._line is not None:
                # A future that is awaited bare would be cancelled with this task.
                await asyncio.shield(self._line.lost)
                self._line = None
                self._fail(lambda pending: not pending.queue)
                self._state(False)
            attempt = 0
            while self._line is None:
                try:
                    await self._open()
                except (OSError, ProtocolError, TimeoutError):
                    await asyncio.sleep(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
                    attempt += 1

    def _waits(self) -> bool:
        return self._line is not None and (self._line.pinged or bool(self._pending))

    def _ping(self) -> None:
        if self._line is not None:
            self._line.ping()

    def _answered(self, message: dict[str, Any]) -> None:
        if self._patience is not None:
            self._patience.answered()
        if message["op"] == "pong":
            return
        pending = self._pending.get(message["n"])
        if pending is None:
            return
        fatal = message["op"] == "refused" and message["code"] == FATAL
        if fatal and pending.queue:
            # Not durable and not wrong: it stays, and goes out again when a ledger is back.
            return
        self._drop(message["n"])
        if pending.done.done():
            return
        if message["op"] == "ack":
            pending.done.set_result(Ack(message["seq"], message["id"], message["time"], message["jws"]))
        elif fatal:
            pending.done.set_exception(LedgerUnavailable(message["message"]))
        else:
            _log.error("the ledger refused an event: %s", message["message"])
            pending.done.set_exception(LedgerRefused(message["code"], message["message"]))

    def _fail(self, which: Callable[[_Pending], bool]) -> None:
        for n, pending in list(self._pending.items()):
            if which(pending):
                self._drop(n)
                if not pending.done.done():
                    kind = pending.message["type"]
                    pending.done.set_exception(LedgerUnavailable(f"{kind}: the ledger is gone"))

    def _drop(self, n: int) -> None:
        del self._pending[n]
        if not self._pending:
            self._idle.set()

    def _state(self, connected: bool) -> None:
        # A ledger that hung and then dropped the connection went once.
        if connected != self._up and self.on_state is not None:
            self.on_state(connected)
        self._up = connected


class _Line(asyncio.Protocol):
    """One connection to the ledger."""

    def __init__(self, answered: Callable[[dict[str, Any]], None]) -> None:
        self._answered = answered
        self._unpacker = Unpacker()
        self._transport: asyncio.Transport | None = None
        self._pings = False
        self.pinged = False
        """Whether an answer is owed to a ping."""
        loop = asyncio.get_running_loop()
        self.welcome: asyncio.Future[list[str]] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, not a check: uvloop's stream transports are no asyncio.Transport by inheritance.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._unpacker.feed(data):
                if message["op"] == "welcome" and not self.welcome.done():
                    self._pings = message.get("pings") is True
                    self.welcome.set_result(list(message["lost"]))
                elif message["op"] == "refused" and not self.welcome.done():
                    self.welcome.set_exception(ProtocolError(f"it refuses: {message['message']}"))
                    self.shut()
                elif message["op"] in ("ack", "refused", "pong"):
                    self.pinged = False
                    self._answered(message)
                else:
                    raise ProtocolError(f"{message['op']!r} was not expected here")
        except (ProtocolError, KeyError) as error:
            _log.error("the ledger's answer makes no sense, connecting again: %s", error)
            self.shut()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        if not self.welcome.done():
            self.welcome.set_exception(ProtocolError(CLOSED))
            self.welcome.exception()
        if not self.lost.done():
            self.lost.set_result(None)

    def write(self, frame: bytes) -> None:
        if self._transport is not None:
            self._transport.write(frame)

    def ping(self) -> None:
        """Asks for an answer, of a ledger that knows how."""
        if self._pings and not self.pinged:
            self.pinged = True
            self.write(_PING)

    def shut(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _why(error: OSError | ProtocolError | TimeoutError) -> str:
    return f"it did not answer within {HELLO_S:g} s" if isinstance(error, TimeoutError) else closed(error)


def _retrieved(done: "asyncio.Future[Ack]") -> None:
    if not done.cancelled():
        done.exception()
