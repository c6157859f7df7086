# SPDX-License-Identifier: GPL-3.0-or-later
"""Many calls at once: a server with edge and pool, SIPp's signalling on both sides, voices from bench.parties."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.parties import Heard, Parties
from bench.served import address, create, number
from bench.sipp import Sipp
from demo.server import Server, free_port

CALLS_EACH = 2
RTP_EACH = 16
SPARE = 6
"""Workers beyond those that the calls need."""


@dataclass(frozen=True, slots=True)
class Ring:
    """How one SIPp rings: so many calls, so many new ones a second, each so long (seconds)."""

    calls: int
    rate: float
    length: float


class Crowd:
    """A server for `most` calls at once with its callers and agents. A context manager that ends all of it.

    All workers are started beforehand: what is measured is calls, not the growth of the pool.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._most = most
        self._rung = 0
        self._agents_voice: Parties
        self._callers_voice: Parties
        self.server: Server

    def __enter__(self) -> Self:
        try:
            self._agents_voice = self._stack.enter_context(Parties(free_port(48_000, 49_000)))
            self._callers_voice = self._stack.enter_context(Parties(free_port(49_100, 49_900)))
            keys = ("-key", "rtp_port", str(self._agents_voice.port))
            agent = self._stack.enter_context(Sipp("load_agent", self._folder / "agent", *keys))
            workers = self._most // CALLS_EACH + SPARE
            settings = {
                "pool": {"max": workers, "min_spare": workers, "sip_port": free_port(50_000, 52_000, workers)},
                "media": {"port": free_port(10_000, 19_000), "port_range": RTP_EACH * workers},
                "edge": {"inside": {"address": "127.0.0.1", "port": free_port(53_000, 54_000)}},
            }
            self.server = create(self._folder / "served", [agent.uri], settings)
            self._stack.enter_context(self.server)
            self.server.start(within=90)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def ring(self, ring: Ring) -> Sipp:
        """Starts a SIPp with so many callers; a context manager."""
        self._rung += 1
        folder = self._folder / f"callers{self._rung}"
        host, port = address(self.server)
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
        return Sipp("load_caller", folder, "-s", number(0), *many, *keys, f"{host}:{port}")

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

    def wait_recording(self, count: int, since: int, within: float) -> None:
        """Until so many recordings run that began after event `since`."""
        self.server.log.wait("recording.started", within=within, since=since, count=count)


def roles(server: Server) -> dict[str, set[int]]:
    """The processes of a server by what they do."""
    found: dict[str, set[int]] = {"worker": set(), "edge": set(), "ledger": set(), "parent": set()}
    for pid in server.family():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        line = words.replace("\0", " ")
        role = "edge" if "kamailio" in line else "worker" if " worker" in line else "parent"
        found["ledger" if " ledger" in line else role].add(pid)
    return found
