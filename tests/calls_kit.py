# SPDX-License-Identifier: GPL-3.0-or-later
"""For tests of ivr.calls: the clock that jumps, a ledger that is told what to answer, and a leg with a prompt."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ivr.ledger.client import Ack
from ivr.sip.events import Up
from media.audio import Audio
from media.cache import PromptFile
from scenarios.clock import VirtualLoop
from scenarios.fakesip import Behaviour, FakeEndpoint, FakeLeg

T = TypeVar("T")
CALL = "01890a5d-ac96-774b-bcce-b302099a8057"


def on_virtual_clock(test: Callable[[], Awaitable[T]]) -> T:
    """Runs a coroutine function on a loop whose clock jumps."""

    async def run() -> T:
        return await test()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(run())


@dataclass
class Written:
    """One event that was handed to the ledger."""

    kind: str
    data: dict[str, Any]
    personal: Mapping[str, Any]
    queue: bool
    done: "asyncio.Future[Ack]"


@dataclass
class ToldLedger:
    """Structurally a LedgerClient; `answer` says what becomes of an append, else it stays open."""

    written: list[Written] = field(default_factory=list)
    answer: Callable[[Written], None] = lambda _written: None
    attended: set[str] = field(default_factory=set)

    def append(
        self,
        type: str,
        *,
        call: str | None,
        data: Mapping[str, Any],
        personal: Mapping[str, Any] | None = None,
        queue: bool = True,
    ) -> "asyncio.Future[Ack]":
        assert call == CALL
        done: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
        one = Written(type, dict(data), dict(personal or {}), queue, done)
        self.written.append(one)
        self.answer(one)
        return done

    def attend(self, call: str) -> None:
        self.attended.add(call)

    def leave(self, call: str) -> None:
        self.attended.discard(call)

    @property
    def kinds(self) -> list[str]:
        return [one.kind for one in self.written]


def ack(one: Written) -> None:
    """It is durable."""
    one.done.set_result(
        Ack(7, "01890a5d-ac96-774b-bcce-b302099a8059", "2026-01-01T00:00:00.000000Z", f"jws {one.kind}")
    )


def prompt(folder: Path, samples: int = 8_000) -> PromptFile:
    """A file of this length at 8 kHz."""
    wav = Audio(np.full(samples, 1_000, dtype=np.int16), 8_000).wav()
    path = folder / f"{samples}.wav"
    path.write_bytes(wav)
    digest = hashlib.sha256(wav).hexdigest()
    return PromptFile(path, "a text", "en", hashlib.sha256(b"a text").hexdigest(), digest, samples, 8_000)


def leg_up() -> FakeLeg:
    """A leg that is answered, on the running loop."""
    leg = FakeLeg(FakeEndpoint(None, lambda _leg, _invite: None), "caller", Behaviour())
    leg.deliver(Up("PCMA", 8_000, True, False))
    return leg
