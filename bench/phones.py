# SPDX-License-Identifier: GPL-3.0-or-later
"""Callers and agents of many calls: SIPp's signalling on both sides, voices from bench.parties."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.parties import Heard, Parties, compiled
from bench.served import number
from bench.sipp import Sipp
from bench.wire import Address
from demo.server import free_port


@dataclass(frozen=True, slots=True)
class Ring:
    """How one SIPp rings: so many calls, so many new ones a second, each so long (seconds)."""

    calls: int
    rate: float
    length: float


class Phones:
    """A context manager that ends all of it."""

    def __init__(self, folder: Path, agent_port: int | None = None) -> None:
        """`agent_port`: where agents are rung, when that was decided elsewhere."""
        self._folder = folder
        self._stack = ExitStack()
        self._rung = 0
        self._agent_port = agent_port
        self._agents_voice: Parties
        self._callers_voice: Parties
        self._agent: Sipp

    def __enter__(self) -> Self:
        try:
            voices = self._stack.enter_context(compiled())
            self._agents_voice = self._stack.enter_context(Parties(voices, free_port(48_000, 49_000)))
            self._callers_voice = self._stack.enter_context(Parties(voices, free_port(49_100, 49_900)))
            keys = ("-key", "rtp_port", str(self._agents_voice.port))
            sipp = Sipp("load_agent", self._folder / "agent", *keys, port=self._agent_port)
            self._agent = self._stack.enter_context(sipp)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    @property
    def agent(self) -> str:
        """Where all agents are rung."""
        return self._agent.uri

    @property
    def agent_port(self) -> int:
        return self._agent.port

    def ring(self, server: Address, ring: Ring) -> Sipp:
        """Starts a SIPp with so many callers; a context manager."""
        self._rung += 1
        folder = self._folder / f"callers{self._rung}"
        many = (
            "-m",
            str(ring.calls),
            "-l",
            str(ring.calls),
            "-r",
            str(ring.rate),
            "-d",
            str(round(ring.length * 1000)),
        )
        keys = ("-key", "rtp_port", str(self._callers_voice.port), "-trace_rtt", "-rtt_freq", "1")
        return Sipp("load_caller", folder, "-s", number(0), *many, *keys, f"{server[0]}:{server[1]}")

    def heard(self) -> tuple[Heard, Heard]:
        """Ends the voices; what callers and agents heard."""
        return self._callers_voice.heard(), self._agents_voice.heard()

    def answer_ms(self) -> list[float]:
        """INVITE to 200 of the calls of the last `ring`, in the order in which they were answered, as SIPp took it."""
        found: list[float] = []
        for file in sorted((self._folder / f"callers{self._rung}").glob("*rtt*.csv")):
            for line in file.read_text().splitlines()[1:]:
                words = line.split(";")
                if len(words) >= 2:
                    found.append(float(words[1]))
        return found
