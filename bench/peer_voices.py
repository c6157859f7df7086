# SPDX-License-Identifier: GPL-3.0-or-later
"""Callers and agents for `make bench-peer`: voices that keep time themselves, and what each line heard.

The voices of bench.parties answer packets. A server that sends on a clock of its own keeps those talking; one that only
passes on what it gets, as Asterisk does, would never hear a first word from them. The program is peer_voices.c.
"""

import json
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from bench.g711 import VALUES
from bench.parties import CompilerMissing, Parties, voice
from bench.phones import Phones
from bench.sipp import Sipp
from demo.server import free_port

SOURCE = Path(__file__).with_name("peer_voices.c")


def decoded(codes: bytes) -> NDArray[np.int16]:
    """The samples of mu-law."""
    return VALUES[np.frombuffer(codes, np.uint8)]


CALLERS_SPEECH = decoded(voice())
AGENTS_SPEECH = CALLERS_SPEECH[::-1]
"""The same backwards: to a codec it is as much work, and still it cannot be taken for what callers say."""


@dataclass(frozen=True, slots=True)
class Line:
    """What one party heard while it was counted: packets, gaps over 60 ms, the longest gap, its last seconds."""

    packets: int
    late: int
    gap_ms: float
    samples: NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Side:
    """What all callers, or all agents, heard in so many seconds."""

    seconds: float
    lines: list[Line]


@contextmanager
def _compiled() -> Iterator[tuple[Path, Path]]:
    """The programs of callers and agents. Raises CompilerMissing."""
    with tempfile.TemporaryDirectory(prefix="assent-voices-") as folder:
        callers, agents = Path(folder) / "callers", Path(folder) / "agents"
        try:
            for program, options in ((callers, []), (agents, ["-DBACKWARDS"])):
                compiler = shlex.split(os.environ.get("CC", "cc"))
                subprocess.run([*compiler, "-O2", *options, "-o", program, SOURCE], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            todo = "on Debian: apt-get install gcc libc6-dev"
            raise CompilerMissing(f"{SOURCE.name} cannot be compiled ({error}); {todo}") from error
        yield callers, agents


class Voices(Parties):
    """The process of one side. `told` ends it."""

    def count(self) -> None:
        """What is heard from now on counts."""
        self._process.send_signal(signal.SIGUSR1)

    def count_no_more(self) -> None:
        self._process.send_signal(signal.SIGUSR2)

    def told(self) -> Side:
        """Ends it and gives what it heard while it counted."""
        self._process.terminate()
        out, _ = self._process.communicate(timeout=60)
        told = json.loads(out)
        lines = [
            Line(line["packets"], line["late"], line["gap_ms"], decoded(bytes.fromhex(line["audio"])))
            for line in told["lines"]
        ]
        return Side(told["seconds"], lines)


class Talkers(Phones):
    """Phones whose voices are Voices."""

    def __enter__(self) -> Self:
        try:
            callers, agents = self._stack.enter_context(_compiled())
            self._agents = self._stack.enter_context(Voices(agents, free_port(48_000, 49_000)))
            self._callers = self._stack.enter_context(Voices(callers, free_port(49_100, 49_900)))
            self._agents_voice, self._callers_voice = self._agents, self._callers
            keys = ("-key", "rtp_port", str(self._agents.port))
            sipp = Sipp("load_agent", self._folder / "agent", *keys, port=self._agent_port)
            self._agent = self._stack.enter_context(sipp)
        except BaseException:
            self._stack.close()
            raise
        return self

    @contextmanager
    def counted(self) -> Iterator[None]:
        """What both sides hear meanwhile is what `told` tells."""
        for side in (self._callers, self._agents):
            side.count()
        yield
        for side in (self._callers, self._agents):
            side.count_no_more()

    def succeeded(self) -> int:
        """How many calls of the last `ring` went to their end as the scenario says, by SIPp's own account of them."""
        lines = (self._folder / f"callers{self._rung}" / "sipp.out").read_text(errors="replace").splitlines()
        ends = [line.split("|") for line in lines if line.strip().startswith("Successful call")]
        return int(ends[-1][2]) if ends else 0

    def told(self) -> tuple[Side, Side]:
        """Ends the voices; what callers and agents heard."""
        return self._callers.told(), self._agents.told()
