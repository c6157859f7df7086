# SPDX-License-Identifier: GPL-3.0-or-later
"""The voices of many calls in one process: answers each RTP packet with one of its own, and sees every gap.

SIPp's own RTP threads ask every stream at every wake-up, which for hundreds of calls takes more processor than what is
measured. Here all calls of one side share a port, as with `sipp -rtp_echo`, but what is sent is speech and each
stream's packets are watched: `python -m bench.parties PORT` serves until SIGTERM and then prints JSON.
"""

import json
import signal
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np

from bench.g711 import VALUES

FRAME = 160
POLL_S = 0.004
LONG_GAP_S = 0.060
_ANCILLARY = socket.CMSG_SPACE(16)
_SO_TIMESTAMPNS = 35
_BUFFER = 8 << 20


def voice() -> bytes:
    """Four seconds like speech to a codec, mu-law: noise of changing loudness, so that FLAC and age have work to do."""
    noise = np.random.default_rng(7).normal(0, 1, 32_000)
    smooth = np.convolve(noise, np.hanning(9) / 4, mode="same")
    swell = 0.15 + 0.85 * np.abs(np.sin(np.arange(len(smooth)) / 3000)) ** 2
    samples = (smooth * swell * 3000).clip(-32000, 32000)
    order = np.argsort(VALUES, kind="stable")
    codes = order[np.searchsorted(VALUES[order], samples).clip(0, 255)]
    return bytes(codes.astype(np.uint8))


class _Stream:
    """One stream from the server, known by its source and SSRC, and the one that answers it."""

    __slots__ = ("gap", "last", "late", "packets", "sequence")

    def __init__(self) -> None:
        self.packets = 0
        self.last = 0.0
        self.gap = 0.0
        self.late = 0
        self.sequence = 0

    def heard(self, at: float) -> None:
        if self.packets:
            gap = at - self.last
            if gap > self.gap:
                self.gap = gap
            if gap > LONG_GAP_S:
                self.late += 1
        self.packets += 1
        self.last = at


def serve(port: int) -> dict[str, Any]:
    """Answers until SIGTERM; what was heard: streams, packets, gaps over 60 ms, each stream's longest in ms."""
    ending = False

    def end(*_: object) -> None:
        nonlocal ending
        ending = True

    signal.signal(signal.SIGTERM, end)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
    sock.bind(("127.0.0.1", port))
    sock.setblocking(False)
    spoken = voice()
    frames = [spoken[at : at + FRAME] for at in range(0, len(spoken), FRAME)]
    streams: dict[tuple[Any, int], _Stream] = {}
    stamp, head, ssrc_of = struct.Struct("qq"), struct.Struct(">BBHII"), struct.Struct(">I")
    print("ready", flush=True)
    while not ending:
        time.sleep(POLL_S)
        while True:
            try:
                packet, ancillary, _, source = sock.recvmsg(2048, _ANCILLARY)
            except BlockingIOError:
                break
            if len(packet) < 12 or packet[1] & 0x7F != 0:
                continue
            key = (source, ssrc_of.unpack_from(packet, 8)[0])
            stream = streams.get(key)
            if stream is None:
                stream = streams[key] = _Stream()
            seconds, nanoseconds = stamp.unpack(ancillary[0][2])
            stream.heard(seconds + nanoseconds / 1e9)
            n = stream.sequence = stream.sequence + 1
            try:
                sock.sendto(
                    head.pack(0x80, 0, n & 0xFFFF, (n * FRAME) & 0xFFFFFFFF, source[1]) + frames[n % len(frames)],
                    source,
                )
            except OSError:
                continue
    gaps = sorted(stream.gap * 1000 for stream in streams.values())
    return {
        "streams": len(streams),
        "packets": sum(stream.packets for stream in streams.values()),
        "late": sum(stream.late for stream in streams.values()),
        "gaps_ms": [round(gap, 1) for gap in gaps],
    }


@dataclass(frozen=True, slots=True)
class Heard:
    """What one side heard."""

    streams: int
    packets: int
    late: int
    gaps_ms: list[float]


class Parties:
    """The process of one side. A context manager; `heard` ends it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.parties", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._process.stdout is None or self._process.stdout.readline().strip() != "ready":
            raise OSError(f"no voices on port {port}")

    @property
    def pid(self) -> int:
        return self._process.pid

    def heard(self) -> Heard:
        """Ends it and gives what it heard."""
        self._process.terminate()
        out, _ = self._process.communicate(timeout=30)
        return Heard(**json.loads(out))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


if __name__ == "__main__":
    print(json.dumps(serve(int(sys.argv[1]))))
