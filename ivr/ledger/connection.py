# SPDX-License-Identifier: GPL-3.0-or-later
"""One peer of the ledger's socket: frames in and out, and a limit to what it may have unanswered."""

import asyncio
import logging
import socket as sockets
import struct
from collections.abc import Callable
from typing import Any, Protocol, cast

from ivr.ledger.canonical import MAX_INT
from ivr.ledger.errors import LedgerError, LedgerRefused
from ivr.ledger.protocol import FATAL, NOT_ALLOWED, VERSION, Ack, ProtocolError, Unpacker, pack

_log = logging.getLogger(__name__)

_PEER = struct.Struct("3i")
# A peer with more than this unanswered is not read from until the disk has caught up.
MAX_UNANSWERED = 4096
MAX_NAME = 128
# Of what a search found, in one message: far below what a frame holds.
FOUND_PART = 1000


class Handler(Protocol):
    """What a connection asks of the service."""

    def opened(self, connection: "Connection") -> str | None:
        """Why this peer may not stay, or None."""

    def hello(self, connection: "Connection", live: list[str]) -> list[str]:
        """The peer said who it is; gives the calls among `live` that are no longer open."""

    def append(self, connection: "Connection", n: int, message: dict[str, Any]) -> None:
        """The peer has an event."""

    def find(self, connection: "Connection", n: int, message: dict[str, Any]) -> None:
        """The peer looks for somebody's events."""

    def erase(self, connection: "Connection", n: int, message: dict[str, Any]) -> None:
        """The peer has an event that erases personal fields."""

    def ping(self, reply: Callable[[], None]) -> None:
        """The peer asks whether it is answered still, and whether the disk keeps up."""

    def stats(self) -> dict[str, Any]:
        """How the ledger is doing, and what it counted."""

    def closed(self, connection: "Connection") -> None:
        """The peer is gone."""

    @property
    def origin(self) -> str:
        """The log's name."""


class Connection(asyncio.Protocol):
    """Owned by the event loop. `worker` is empty until the peer has said hello."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._unpacker = Unpacker()
        self._unanswered = 0
        self._paused = False
        self._transport: asyncio.Transport | None = None
        self._welcome = False
        self.worker = ""
        self.role = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: a peer connected."""
        # A cast, not a check: uvloop's stream transports are no asyncio.Transport by inheritance.
        self._transport = cast(asyncio.Transport, transport)
        refused = self._handler.opened(self)
        if refused is not None:
            self._refuse(refused)

    def peer(self) -> tuple[int, int]:
        """(uid, gid) of the peer, from the kernel (unix(7), SO_PEERCRED)."""
        if self._transport is None:
            raise ProtocolError("not connected")
        raw = self._transport.get_extra_info("socket").getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, _PEER.size)
        _pid, uid, gid = _PEER.unpack(raw)
        return uid, gid

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes from the peer."""
        try:
            for message in self._unpacker.feed(data):
                self._message(message)
        except ProtocolError as error:
            _log.error("closing the connection of %s: %s", self.worker or "an unnamed peer", error)
            if self._welcome:
                self.shut()
            else:
                self._refuse(str(error))

    def connection_lost(self, _exc: Exception | None) -> None:
        """asyncio: the peer is gone."""
        self._transport = None
        self._handler.closed(self)

    def answer(self, n: int, ack: Ack | None, error: LedgerError | None) -> None:
        """Durable, or why not."""
        self._unanswered -= 1
        if ack is not None:
            self._send({"op": "ack", "n": n, "seq": ack.seq, "id": ack.id, "time": ack.time, "jws": ack.jws})
        else:
            code = error.code if isinstance(error, LedgerRefused) else FATAL
            self._send({"op": "refused", "n": n, "code": code, "message": str(error)})
        self._read_on()

    def found(self, n: int, events: list[list[Any]]) -> None:
        """What a search found, in as many messages as it takes."""
        self._unanswered -= 1
        for start in range(0, max(1, len(events)), FOUND_PART):
            part = {"op": "found", "n": n, "events": events[start : start + FOUND_PART]}
            self._send(part | {"more": start + FOUND_PART < len(events)})
        self._read_on()

    def _read_on(self) -> None:
        if self._paused and self._unanswered < MAX_UNANSWERED // 2 and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def shut(self) -> None:
        """Send what is buffered, then close."""
        if self._transport is not None:
            self._transport.close()

    def _message(self, message: dict[str, Any]) -> None:
        op = message["op"]
        if op == "hello" and not self.worker:
            self._hello(message)
        elif op in ("append", "find", "erase") and self.worker:
            n = message.get("n")
            # An answer carries it back: what canonical JSON cannot hold could never be answered.
            if type(n) is not int or not 0 <= n <= MAX_INT:
                raise ProtocolError(f"{op} without a number")
            self._unanswered += 1
            handle = {"append": self._handler.append, "find": self._handler.find, "erase": self._handler.erase}[op]
            handle(self, n, message)
            if self._unanswered >= MAX_UNANSWERED and not self._paused and self._transport is not None:
                self._paused = True
                self._transport.pause_reading()
        elif op == "ping" and self.worker:
            self._handler.ping(lambda: self._send({"op": "pong"}))
        elif op == "stats" and self.worker:
            self._send({"op": "stats", "stats": self._handler.stats()})
        else:
            raise ProtocolError(f"{op!r} was not expected here")

    def _refuse(self, why: str) -> None:
        """Before a welcome: whoever is refused is told why, and may not be read from any more."""
        self._send({"op": "refused", "n": 0, "code": NOT_ALLOWED, "message": why})
        self.shut()

    def _hello(self, message: dict[str, Any]) -> None:
        worker, role, live = message.get("worker"), message.get("role"), message.get("live")
        if message.get("v") != VERSION:
            raise ProtocolError(f"speaks version {message.get('v')!r}, this ledger speaks {VERSION}")
        if not isinstance(worker, str) or not worker or role not in ("worker", "tool") or not isinstance(live, list):
            raise ProtocolError("hello without a name, a role or the live calls")
        if len(worker) > MAX_NAME:
            raise ProtocolError(f"a name of {len(worker)} characters; the limit is {MAX_NAME}")
        self.worker, self.role = worker, str(role)
        lost = self._handler.hello(self, [str(call) for call in live])
        self._welcome = True
        self._send({"op": "welcome", "log": self._handler.origin, "lost": lost, "pings": True})

    def _send(self, message: dict[str, Any]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(pack(message))
