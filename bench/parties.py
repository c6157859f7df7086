# SPDX-License-Identifier: GPL-3.0-or-later
"""The voices of many calls in one process: answers each RTP packet with one of its own, and sees every gap.

SIPp's own RTP threads ask every stream at every wake-up, which for hundreds of calls takes more processor than what is
measured. Here all calls of one side share a port, as with `sipp -rtp_echo`, but what is sent is speech and each
stream's packets are watched. The program is parties.c, compiled at the first use of a run.
"""

import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from bench.g711 import VALUES

SOURCE = Path(__file__).with_name("parties.c")


class CompilerMissing(Exception):
    """The message says what to install."""


def voice() -> bytes:
    """Four seconds like speech to a codec, mu-law: noise of changing loudness, so that FLAC and age have work to do."""
    noise = np.random.default_rng(7).normal(0, 1, 32_000)
    smooth = np.convolve(noise, np.hanning(9) / 4, mode="same")
    swell = 0.15 + 0.85 * np.abs(np.sin(np.arange(len(smooth)) / 3000)) ** 2
    samples = (smooth * swell * 3000).clip(-32000, 32000)
    order = np.argsort(VALUES, kind="stable")
    codes = order[np.searchsorted(VALUES[order], samples).clip(0, 255)]
    return bytes(codes.astype(np.uint8))


@dataclass(frozen=True, slots=True)
class Heard:
    """What one side heard."""

    streams: int
    packets: int
    late: int
    gaps_ms: list[float]


@contextmanager
def compiled() -> Iterator[Path]:
    """The program, for as long as it is wanted. Raises CompilerMissing."""
    with tempfile.TemporaryDirectory(prefix="assent-parties-") as folder:
        program = Path(folder) / "parties"
        try:
            subprocess.run([*shlex.split(os.environ.get("CC", "cc")), "-O2", "-o", program, SOURCE], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            todo = "on Debian: apt-get install gcc libc6-dev"
            raise CompilerMissing(f"{SOURCE.name} cannot be compiled ({error}); {todo}") from error
        yield program


class Parties:
    """The process of one side. A context manager; `heard` ends it."""

    def __init__(self, program: Path, port: int) -> None:
        self.port = port
        self._process = subprocess.Popen([program, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self._process.stdin is None or self._process.stdout is None:
            raise OSError("no pipes to the voices")
        self._process.stdin.write(voice())
        self._process.stdin.close()
        self._process.stdin = None
        if self._process.stdout.readline().strip() != b"ready":
            raise OSError(f"no voices on port {port}")

    @property
    def pid(self) -> int:
        return self._process.pid

    def heard(self) -> Heard:
        """Ends it and gives what it heard."""
        self._process.terminate()
        out, _ = self._process.communicate(timeout=30)
        told = json.loads(out)
        return Heard(**{**told, "gaps_ms": sorted(told["gaps_ms"])})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
