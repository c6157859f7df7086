# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a prompt came is counted in packets that left; prompts wait for each other, a tone fills the gaps."""

import asyncio
from pathlib import Path

import pytest

from calls_kit import leg_up, on_virtual_clock, prompt
from ivr.calls.speaker import Playback, Played, Speaker
from ivr.sip.events import Down, MediaChanged
from ivr.sip.leg import Traffic
from scenarios.fakesip import FakeLeg


def heard(leg: FakeLeg) -> list[str]:
    return [str(one) for one in leg.heard]


@pytest.mark.parametrize("samples", [8_000, 8_001, 159, 160, 1])
def test_a_prompt_that_ran_to_its_end_was_sent_whole(samples: int, tmp_path: Path) -> None:
    async def run() -> Played:
        playback = Playback(leg_up(), prompt(tmp_path, samples))  # type: ignore[arg-type]
        playback.start()
        return await playback.done

    played = on_virtual_clock(run)
    assert played.whole
    assert played.samples_sent == played.samples_total == samples


def test_one_that_was_stopped_was_not_whole_however_late(tmp_path: Path) -> None:
    """In its very last packet: the count of packets says all, and still it was cut."""

    async def run() -> Played:
        leg = leg_up()
        playback = Playback(leg, prompt(tmp_path, 8_000))  # type: ignore[arg-type]
        playback.start()
        await asyncio.sleep(0.9999)
        await asyncio.sleep(0)
        leg._ticks = lambda until: 1_000  # type: ignore[method-assign]
        return playback.stop()

    played = on_virtual_clock(run)
    assert not played.whole
    assert played.samples_sent == 7_999


def test_one_whose_packets_stopped_was_not_whole(tmp_path: Path) -> None:
    """The file was read to its end, but the leg was on hold for a part of it."""

    async def run() -> Played:
        leg = leg_up()
        playback = Playback(leg, prompt(tmp_path, 8_000))  # type: ignore[arg-type]
        playback.start()
        await asyncio.sleep(0.5)
        leg.deliver(MediaChanged(True, True))
        return await playback.done

    played = on_virtual_clock(run)
    assert not played.whole
    assert played.packets_sent == 25
    assert played.samples_sent == 25 * 160


@pytest.mark.parametrize(
    ("packet_ms", "packets", "whole"), [(10, 99, False), (10, 100, True), (30, 33, False), (30, 34, True)]
)
def test_packets_count_as_long_as_they_are(packet_ms: int, packets: int, whole: bool, tmp_path: Path) -> None:
    """The far end chooses the packet time (a=ptime): a prompt of 1 s takes 100 packets of 10 ms, or 34 of 30 ms."""

    async def run() -> Played:
        leg = leg_up()
        counts = iter([0])
        leg.traffic = lambda: Traffic(next(counts, packets), None, 0, packet_ms)  # type: ignore[method-assign]
        playback = Playback(leg, prompt(tmp_path, 8_000))  # type: ignore[arg-type]
        playback.start()
        return await playback.done

    assert on_virtual_clock(run).whole is whole


def test_a_leg_that_went_takes_the_counters_with_it(tmp_path: Path) -> None:
    async def run() -> Played:
        leg = leg_up()
        playback = Playback(leg, prompt(tmp_path, 8_000))  # type: ignore[arg-type]
        playback.start()
        await asyncio.sleep(0.5)
        leg.deliver(Down(200, ""))
        return playback.stop()

    played = on_virtual_clock(run)
    assert not played.whole
    assert played.packets_sent is None


def test_stopping_twice_gives_the_same(tmp_path: Path) -> None:
    async def run() -> tuple[Played, Played]:
        playback = Playback(leg_up(), prompt(tmp_path))  # type: ignore[arg-type]
        playback.start()
        await asyncio.sleep(0.3)
        first = playback.stop()
        await asyncio.sleep(3)
        return first, playback.stop()

    first, second = on_virtual_clock(run)
    assert first is second


def test_prompts_wait_for_each_other_and_the_tone_fills_the_gaps(tmp_path: Path) -> None:
    one, two, tone = prompt(tmp_path, 8_000), prompt(tmp_path, 4_000), prompt(tmp_path, 1_600)

    async def run() -> tuple[list[str], float]:
        leg = leg_up()
        speaker = Speaker(leg)  # type: ignore[arg-type]
        loop = asyncio.get_running_loop()
        speaker.loop(tone)
        await asyncio.sleep(0.1)
        began = loop.time()
        await asyncio.gather(speaker.say(one), speaker.say(two))
        took = loop.time() - began
        speaker.hush()
        assert leg._players == set()
        return heard(leg), took

    names, took = on_virtual_clock(run)
    assert names == ["1600.wav", "8000.wav", "1600.wav", "4000.wav", "1600.wav"]
    assert took >= 1.5


def test_a_tone_that_is_asked_for_while_something_plays_waits(tmp_path: Path) -> None:
    async def run() -> list[str]:
        leg = leg_up()
        speaker = Speaker(leg)  # type: ignore[arg-type]
        saying = asyncio.ensure_future(speaker.say(prompt(tmp_path, 8_000)))
        await asyncio.sleep(0.1)
        speaker.loop(prompt(tmp_path, 1_600))
        before = heard(leg)
        await saying
        speaker.hush()
        return [*before, "then", *heard(leg)]

    assert on_virtual_clock(run) == ["8000.wav (cut)", "then", "8000.wav", "1600.wav"]


def test_a_stop_ends_a_prompt_and_one_before_it_begins_plays_nothing(tmp_path: Path) -> None:
    async def run() -> tuple[Played | None, Played | None, list[str]]:
        leg = leg_up()
        speaker, stop = Speaker(leg), asyncio.Event()  # type: ignore[arg-type]
        asyncio.get_running_loop().call_later(0.4, stop.set)
        first = await speaker.say(prompt(tmp_path, 8_000), stop=stop)
        second = await speaker.say(prompt(tmp_path, 4_000), stop=stop)
        return first, second, heard(leg)

    first, second, names = on_virtual_clock(run)
    assert first is not None
    assert not first.whole
    assert first.packets_sent == 20
    assert second == Played(4_000, 0, 0, None)
    assert names == ["8000.wav (cut)"]


def test_a_leg_that_goes_ends_the_wait_and_is_spoken_to_no_more(tmp_path: Path) -> None:
    async def run() -> tuple[Played | None, Played | None]:
        leg = leg_up()
        speaker = Speaker(leg)  # type: ignore[arg-type]
        saying = asyncio.ensure_future(speaker.say(prompt(tmp_path, 80_000)))
        await asyncio.sleep(0.5)
        leg.deliver(Down(200, ""))
        speaker.cut()
        async with asyncio.timeout(0.1):
            return await saying, await speaker.say(prompt(tmp_path, 8_000))

    first, second = on_virtual_clock(run)
    assert first is not None
    assert not first.whole
    assert second is None


def test_a_cancelled_say_is_silent_at_once_and_frees_the_turn(tmp_path: Path) -> None:
    async def run() -> list[str]:
        leg = leg_up()
        speaker = Speaker(leg)  # type: ignore[arg-type]
        saying = asyncio.ensure_future(speaker.say(prompt(tmp_path, 80_000)))
        await asyncio.sleep(0.5)
        saying.cancel()
        await asyncio.wait([saying])
        assert leg._players == set()
        await speaker.say(prompt(tmp_path, 800))
        return heard(leg)

    assert on_virtual_clock(run) == ["80000.wav (cut)", "800.wav"]
