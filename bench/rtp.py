# SPDX-License-Identifier: GPL-3.0-or-later
"""One end of an RTP stream with G.711 mu-law and telephone-event, every packet stamped (RFC 3550, 3551, 4733)."""

import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from random import SystemRandom
from typing import NamedTuple

from bench.wire import Address, Wire, now

PCMU, EVENT = 0, 101
FRAME = 160
"""Samples, and bytes, of a packet: 20 ms at 8000 Hz."""
SILENCE = bytes([0xFF]) * FRAME
_HEAD = struct.Struct("!BBHII")
_KEYS = "0123456789*#ABCD"
_random = SystemRandom()

Voice = Callable[[int], bytes]


class Packet(NamedTuple):
    """A received packet; `at` as in wire.now()."""

    at: int
    kind: int
    seq: int
    payload: bytes


class Line:
    """Sends a packet every 20 ms once `start` has been called; keeps what comes in and when everything went out."""

    def __init__(self, voice: Voice = lambda _n: SILENCE) -> None:
        self._wire = Wire()
        self._voice = voice
        self._to: Address | None = None
        self._ssrc = _random.getrandbits(32)
        self._seq = _random.getrandbits(15)
        self._ts = _random.getrandbits(31)
        self._lock = threading.Lock()
        self._keys: deque[tuple[int, bytes]] = deque()
        self._running = True
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.received: list[Packet] = []
        self.sent: list[int] = []
        """When the n-th voice packet left."""

    @property
    def port(self) -> int:
        return self._wire.port

    def start(self, to: Address) -> None:
        """Begins to send."""
        self._to = to
        self._thread.start()

    def close(self) -> None:
        self._running = False
        if self._thread.is_alive():
            self._thread.join(timeout=2)
        self._wire.close()

    def _run(self) -> None:
        due = time.monotonic()
        while self._running:
            self._speak()
            due += 0.02
            while (left := due - time.monotonic()) > 0:
                datagram = self._wire.receive(left)
                if datagram is not None and len(datagram.data) > _HEAD.size:
                    _, kind, seq, _, _ = _HEAD.unpack_from(datagram.data)
                    with self._changed:
                        self.received.append(Packet(datagram.at, kind & 0x7F, seq, datagram.data[_HEAD.size :]))
                        self._changed.notify_all()

    def _speak(self) -> None:
        with self._lock:
            self._ts = (self._ts + FRAME) & 0xFFFFFFFF
            self.sent.append(self._send(PCMU, self._ts, self._voice(len(self.sent))))
            if self._keys:
                self._send(EVENT, *self._keys.popleft())

    def _send(self, kind: int, ts: int, payload: bytes, marker: bool = False) -> int:
        if self._to is None:
            raise RuntimeError("the line was not started")
        self._seq = (self._seq + 1) & 0xFFFF
        head = _HEAD.pack(0x80, kind | (0x80 if marker else 0), self._seq, ts, self._ssrc)
        return self._wire.send(head + payload, self._to)

    def press(self, key: str, packets: int = 5) -> int:
        """A key: its first packet goes at once, the rest on the 20 ms clock, the end three times (RFC 4733, 2.5.1).

        The voice goes on meanwhile. Returns when the first packet left.
        """
        event = _KEYS.index(key)
        with self._lock:
            ts = self._ts
            at = self._send(EVENT, ts, _event(event, FRAME, end=False), marker=True)
            rest = [_event(event, FRAME * (n + 2), end=False) for n in range(packets - 1)]
            rest += [_event(event, FRAME * (packets + 1), end=True)] * 3
            self._keys.extend((ts, payload) for payload in rest)
        return at

    def wait(self, wanted: Callable[[Packet], bool], within: float, after: int = 0) -> Packet | None:
        """The first voice packet that was received after that time and is wanted; None when none came."""
        deadline = time.monotonic() + within
        looked = 0
        with self._changed:
            while True:
                while looked < len(self.received):
                    packet = self.received[looked]
                    looked += 1
                    if packet.kind == PCMU and packet.at > after and wanted(packet):
                        return packet
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    return None


def _event(event: int, duration: int, *, end: bool) -> bytes:
    return struct.pack("!BBH", event, 10 | (0x80 if end else 0), duration)


__all__ = ["EVENT", "FRAME", "PCMU", "SILENCE", "Line", "Packet", "now"]
