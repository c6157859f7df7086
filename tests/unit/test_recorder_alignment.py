# SPDX-License-Identifier: GPL-3.0-or-later
"""Both channels of a recording show the same tick at the same place, whenever their recorders began or lost ticks."""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ivr.calls import recorder as module
from ivr.calls.drains import DRAIN_S, Drains
from ivr.calls.recorder import CallRecorder
from scenarios.clock import VirtualLoop

RATE, FRAME, FLUSHED = 8000, 160, 2048
TICK_S = 0.02
Samples = npt.NDArray[np.int16]


class Party:
    """A recorder whose samples say in which tick they were made."""

    def __init__(self, first: int, lost: Sequence[int] = (), late_s: float = 0.0) -> None:
        """`late_s`: so long after the other one's a tick reaches this port, as when the media thread is held up."""
        self._first, self._lost, self._late = first, frozenset(lost), late_s
        self.began = 0.0
        self.taken = 0

    def _heard(self) -> list[int]:
        now = int((asyncio.get_running_loop().time() - self.began - self._late) / TICK_S + 1e-6)
        return [tick for tick in range(self._first, now) if tick not in self._lost]

    def position(self) -> int:
        return len(self._heard()) * FRAME

    @property
    def flushed(self) -> int:
        return max(0, self.position() // FLUSHED * FLUSHED - self.taken)

    def read(self, limit: int | None = None) -> Samples:
        count = self.flushed if limit is None else min(limit, self.flushed)
        samples = np.repeat(np.array(self._heard(), dtype=np.int16), FRAME)[self.taken : self.taken + count]
        self.taken += count
        return samples

    def connect(self, _leg: object) -> None:
        return None

    close = free = lambda self: None


class Written:
    """A writer that keeps what it gets."""

    def __init__(self, *_: object, **__: object) -> None:
        self.parts: list[tuple[Samples, Samples]] = []
        self.opened: Future[str] = Future()
        self.opened.set_result("age1")
        self.sealed: list[object] = []
        self.unsealed = self.written = 0

    def write(self, left: Samples, right: Samples, *, newer: int) -> None:
        self.parts.append((left, right))


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        yield runner


def record(
    runner: asyncio.Runner, patch: pytest.MonkeyPatch, *parties: Party, seconds: float = 6.3, held_up_s: float = 0.0
) -> tuple[Any, Any]:
    """The ticks of both channels, sample by sample, of a recording of these parties."""
    writers: list[Written] = []
    waiting = iter(parties)

    def made(*_: object, **__: object) -> Written:
        writers.append(Written())
        return writers[-1]

    patch.setattr(module, "PartyRecorder", lambda _name: next(waiting))
    patch.setattr(module, "RecordingWriter", made)

    async def main() -> None:
        for party in parties:
            party.began = asyncio.get_running_loop().time()
        began = asyncio.get_running_loop().time()

        def ticks() -> int:
            whole, into = divmod(asyncio.get_running_loop().time() - began + 1e-9, TICK_S)
            return 2 * int(whole) + (-1 if into < held_up_s else 0)

        permit: Any = SimpleNamespace(recording="r")
        store: Any = None
        leg: Any = None
        recorder = CallRecorder(
            permit, store, RATE, lambda: 0, lambda _why: None, lambda _sealed: None, Drains(), ticks
        )
        await recorder.start(leg, leg)
        await asyncio.sleep(seconds)
        recorder.stop("over", erase=False)

    runner.run(main())
    left, right = zip(*writers[0].parts, strict=True)
    return np.concatenate(left), np.concatenate(right)


@pytest.mark.parametrize(("first", "second"), [(1, 1), (1, 2), (3, 1), (1, 9)])
def test_what_one_recorder_heard_before_the_other_began_is_dropped(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, first: int, second: int
) -> None:
    left, right = record(runner, monkeypatch, Party(first), Party(second))
    assert len(left) > RATE
    assert (left == right).all()


@pytest.mark.parametrize("behind", ["caller", "agent"])
def test_ticks_that_one_recorder_lost_are_silence_and_the_rest_is_in_step(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, behind: str
) -> None:
    lost = range(100, 107)
    whole, less = Party(1), Party(1, lost)
    parties = (less, whole) if behind == "caller" else (whole, less)
    left, right = record(runner, monkeypatch, *parties)
    shown, gapped = (right, left) if behind == "caller" else (left, right)
    assert (gapped == 0).sum() == len(lost) * FRAME
    later = shown > shown.max() // 2
    assert later.sum() > RATE
    assert (gapped[later] == shown[later]).all()


@pytest.mark.parametrize("late_s", [0.004, 0.012])
def test_a_media_thread_that_is_held_up_between_the_ports_moves_nothing(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, late_s: float
) -> None:
    """Both readings of a pair would agree: they are 3 ms apart."""
    left, right = record(runner, monkeypatch, Party(1), Party(1, late_s=late_s), held_up_s=late_s + 0.0001)
    assert len(left) > RATE
    assert (left == right).all()
    assert (right != 0).sum() == len(right)


def test_a_recorder_that_cannot_be_read_ends_and_the_other_call_of_the_worker_is_recorded_on(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Party):
        def read(self, limit: int | None = None) -> Samples:
            if self.taken:
                raise OSError("Input/output error")
            return super().read(limit)

    parties = [Broken(1), Party(1), Party(1), Party(1)]
    waiting, writers = iter(parties), []
    monkeypatch.setattr(module, "PartyRecorder", lambda _name: next(waiting))
    monkeypatch.setattr(module, "RecordingWriter", lambda *_, **__: writers.append(Written()) or writers[-1])
    told: list[tuple[int, str]] = []

    async def main() -> None:
        drains = Drains()
        recorders = []
        for number in range(2):
            for party in parties[2 * number : 2 * number + 2]:
                party.began = asyncio.get_running_loop().time()
            permit: Any = SimpleNamespace(recording="r")
            nothing: Any = None
            recorder = CallRecorder(
                permit,
                nothing,
                RATE,
                lambda: 0,
                lambda why, number=number: told.append((number, why)),  # type: ignore[misc]
                lambda _sealed: None,
                drains,
                lambda: 0,
            )
            await recorder.start(nothing, nothing)
            recorders.append(recorder)
        await asyncio.sleep(8 * DRAIN_S)
        for recorder in recorders:
            recorder.stop("over", erase=False)

    runner.run(main())
    assert told == [(0, "OSError")]
    broken, whole = (sum(len(left) for left, _ in writer.parts) for writer in writers)
    assert broken < 2 * DRAIN_S * RATE
    assert whole > 7 * DRAIN_S * RATE
