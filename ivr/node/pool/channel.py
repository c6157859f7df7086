# SPDX-License-Identifier: GPL-3.0-or-later
"""One end of a socket pair between processes of the pool: JSON messages, file descriptors beside them, and its end.

SOCK_SEQPACKET: a message is whole or not there, and the end of the other process is the end of the channel, whatever
ended it. Each end is held by one process alone, or that would not be so.
"""

import asyncio
import logging
import os
import socket
from array import array
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

log = logging.getLogger(__name__)

MOST = 200_000
"""Bytes of the longest message: the default socket buffer of Linux holds it."""

_BUFFER = bytearray(MOST)
"""Read into again and again: hundreds of beats a second come in, and fresh memory of this size costs more than they."""

_BESIDE = socket.CMSG_LEN(4 * array("i").itemsize)

Message = dict[str, Any]
OnMessage = Callable[[Message, list[int]], None]


def pair() -> tuple[socket.socket, socket.socket]:
    """Both ends, neither inherited by what is executed."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(sock: socket.socket, message: Mapping[str, Any], fds: list[int] | None = None) -> bool:
    """Sends without waiting. False when the other end is gone or takes nothing in any more."""
    # Not socket.send_fds(): it takes flags and leaves them out (CPython 3.11).
    beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))] if fds else []
    try:
        sock.sendmsg([orjson.dumps(message)], beside, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    except OSError:
        return False
    return True


def receive(sock: socket.socket, flags: int = 0) -> tuple[Message, list[int]] | None:
    """The next message and the descriptors that came with it, or None at the end. Raises BlockingIOError."""
    try:
        size, beside, _, _ = sock.recvmsg_into([_BUFFER], _BESIDE, flags | socket.MSG_CMSG_CLOEXEC)
    except ConnectionError:
        return None
    fds = array("i")
    for _level, _kind, passed in beside:
        fds.frombytes(passed[: len(passed) - len(passed) % fds.itemsize])
    if not size:
        _close(fds)  # an empty message can have some too
        return None
    try:
        message = orjson.loads(memoryview(_BUFFER)[:size])
    except orjson.JSONDecodeError:
        message = None
    if not isinstance(message, dict):
        # A worker parses what strangers send: what one says is not to be trusted to be anything.
        _close(fds)
        return {}, []
    return message, list(fds)


def _close(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)


class Channel:
    """An end on an event loop. `on_gone` is called once, when the other process has ended or closed it.

    `handles`: the op whose messages may bring descriptors. What comes beside any other message is closed.
    """

    def __init__(
        self, sock: socket.socket, on_message: OnMessage, on_gone: Callable[[], None], handles: str | None = None
    ) -> None:
        self._sock = sock
        self._on_message = on_message
        self._on_gone = on_gone
        self._handles = handles
        self._loop = asyncio.get_running_loop()
        self._open = True
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self.take_in)

    def send(self, message: Mapping[str, Any], fds: list[int] | None = None) -> bool:
        """False when it could not be handed over."""
        return self._open and send(self._sock, message, fds)

    def take_in(self) -> None:
        """Hands on every message that has come."""
        while self._open:
            try:
                got = receive(self._sock, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            if got is None:
                self.close()
                self._on_gone()
                return
            message, fds = got
            if fds and message.get("op") != self._handles:
                _close(fds)
                fds = []
            self._on_message(message, fds)

    def close(self) -> None:
        """No further call of anything."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
