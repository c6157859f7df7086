# SPDX-License-Identifier: GPL-3.0-or-later
"""UDP with the kernel's own time stamps: a late thread of ours does not make the server look slow.

Times are CLOCK_REALTIME in ns, the clock that Linux stamps packets with (SO_TIMESTAMPNS, socket(7)).
"""

import socket
import struct
import time
from typing import NamedTuple

_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@qq")
_ANCILLARY = socket.CMSG_SPACE(_TIMESPEC.size)
_SIZE = 65_536

Address = tuple[str, int]


class Datagram(NamedTuple):
    """What arrived, when, and from where."""

    at: int
    data: bytes
    sender: Address


def now() -> int:
    """The time on the clock of the stamps, ns."""
    return time.time_ns()


class Wire:
    """A bound UDP socket on 127.0.0.1. Sending is for any thread, receiving for one."""

    def __init__(self, port: int = 0) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]

    def send(self, data: bytes, to: Address) -> int:
        """Sends; returns the time just before."""
        at = time.time_ns()
        self._socket.sendto(data, to)
        return at

    def receive(self, timeout: float) -> Datagram | None:
        """The next datagram, or None after `timeout` seconds."""
        self._socket.settimeout(max(timeout, 0.000_001))
        try:
            data, ancillary, _flags, sender = self._socket.recvmsg(_SIZE, _ANCILLARY)
        except (TimeoutError, BlockingIOError):
            return None
        for level, kind, value in ancillary:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
                seconds, ns = _TIMESPEC.unpack(value)
                return Datagram(seconds * 1_000_000_000 + ns, data, sender)
        raise OSError("the kernel stamps no packets (SO_TIMESTAMPNS)")

    def close(self) -> None:
        self._socket.close()
