# SPDX-License-Identifier: GPL-3.0-or-later
"""All recordings of a worker are drained in one turn of its loop, each from its start to its end."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from ivr.calls.drains import DRAIN_S, Drains
from scenarios.clock import VirtualLoop


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        yield runner


def noted(times: list[float]) -> Callable[[], None]:
    return lambda: times.append(round(asyncio.get_running_loop().time(), 3))


def test_a_recording_that_begins_later_is_drained_with_the_others(runner: asyncio.Runner) -> None:
    first: list[float] = []
    second: list[float] = []

    async def main() -> None:
        drains = Drains()
        drains.join(noted(first))
        await asyncio.sleep(0.5)
        drains.join(noted(second))
        await asyncio.sleep(3 * DRAIN_S)

    runner.run(main())
    assert first == second == [round(n * DRAIN_S, 3) for n in (1, 2, 3)]


def test_one_that_has_left_is_not_drained_and_the_last_one_stops_the_timer(runner: asyncio.Runner) -> None:
    stays: list[float] = []
    leaves: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        drains, one, other = Drains(), noted(stays), noted(leaves)
        drains.join(one)
        drains.join(other)
        await asyncio.sleep(DRAIN_S + 0.1)
        drains.leave(other)
        drains.leave(other)  # harmless
        await asyncio.sleep(DRAIN_S)
        drains.leave(one)
        assert loop.waiting() == []
        # The next one begins a time of its own.
        await asyncio.sleep(1.0)
        drains.join(one)
        await asyncio.sleep(DRAIN_S + 0.1)
        drains.leave(one)

    runner.run(main())
    assert leaves == [round(DRAIN_S, 3)]
    assert stays == [round(time, 3) for time in (DRAIN_S, 2 * DRAIN_S, 3 * DRAIN_S + 1.1)]


def test_one_that_fails_may_take_another_out_in_the_same_turn(runner: asyncio.Runner) -> None:
    late: list[float] = []

    async def main() -> None:
        drains, other = Drains(), noted(late)
        drains.join(lambda: drains.leave(other))
        drains.join(other)
        await asyncio.sleep(DRAIN_S + 0.1)

    runner.run(main())
    assert late == []
