# SPDX-License-Identifier: GPL-3.0-or-later
"""The loop of the media clock, as compiled and in Python: both have to do the same."""

import ctypes
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from ivr.sip import mediaclock
from ivr.sip.mediaclock import CHOICE, FULL_POLL, MOST_POLLS, MediaClock, _Clock, _Frame, _loop, _tick_on

SAMPLES = 160
MS = 1_000_000

_POLL = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_GET_FRAME = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(_Frame))

Loop = Callable[[Any], None]


@pytest.fixture(params=["compiled", "python"])
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Loop:
    monkeypatch.setenv(CHOICE, request.param)
    chosen = _loop()
    assert (chosen is _tick_on) == (request.param == "python")
    return chosen


def run(
    loop: Loop,
    frames: int,
    *,
    tick_ns: int = 20 * MS,
    late_ns: int = 200 * MS,
    polled: Callable[[], int] = lambda: 0,
    framed: Callable[[int, _Frame], None] = lambda _number, _frame: None,
    seen: list[int] | None = None,
) -> _Clock:
    """Runs the loop until so many frames were made; `polled` says how many events a poll worked off.

    `seen` gets the clock's `ticks` within each frame.
    """
    made = 0

    def get_frame(_bridge: int, frame: Any) -> int:
        nonlocal made
        framed(made, frame.contents)
        if seen is not None:
            seen.append(clock.ticks)
        made += 1
        if made == frames:
            clock.ticking = 0
        return 0

    poll, get = _POLL(lambda _queue, _timeout: polled()), _GET_FRAME(get_frame)
    buffer = ctypes.create_string_buffer(SAMPLES * 2)
    clock = _Clock(
        poll=ctypes.cast(poll, ctypes.c_void_p),
        get_frame=ctypes.cast(get, ctypes.c_void_p),
        queue=1,
        bridge=2,
        buffer=ctypes.cast(buffer, ctypes.c_void_p),
        samples=SAMPLES,
        full_poll=FULL_POLL,
        most_polls=MOST_POLLS,
        ticking=1,
        tick_ns=tick_ns,
        late_ns=late_ns,
    )
    loop(ctypes.byref(clock))
    return clock


def test_every_tick_makes_one_frame_whose_time_goes_on(loop: Loop) -> None:
    seen: list[tuple[int, int]] = []

    def framed(_number: int, frame: _Frame) -> None:
        seen.append((frame.timestamp, frame.size))
        frame.size = 0  # as the bridge may

    began = time.monotonic_ns()
    clock = run(loop, 4, framed=framed)
    assert seen == [(number * SAMPLES, SAMPLES * 2) for number in range(4)]
    assert began <= clock.turned_ns <= time.monotonic_ns()


@pytest.mark.parametrize(("found", "polls"), [(0, 1), (FULL_POLL - 1, 1), (FULL_POLL, MOST_POLLS)])
def test_a_tick_polls_until_nothing_is_left_but_a_flood_does_not_hold_it_up(loop: Loop, found: int, polls: int) -> None:
    count = 0

    def polled() -> int:
        nonlocal count
        count += 1
        return found

    run(loop, 3, polled=polled)
    assert count == 3 * polls


def test_frames_that_were_missed_are_made_up_for(loop: Loop) -> None:
    """The bridge loses no time however long a tick took: what is due comes at once."""
    at: list[int] = []

    def framed(number: int, _frame: _Frame) -> None:
        if number == 1:
            time.sleep(1.6)
        at.append(time.monotonic_ns())

    run(loop, 5, tick_ns=500 * MS, late_ns=60_000 * MS, framed=framed)
    assert at[4] - at[1] < 500 * MS


def test_a_clock_that_is_far_behind_starts_anew(loop: Loop) -> None:
    at: list[int] = []

    def framed(number: int, _frame: _Frame) -> None:
        if number == 1:
            time.sleep(0.3)
        at.append(time.monotonic_ns())

    run(loop, 5, tick_ns=40 * MS, late_ns=100 * MS, framed=framed)
    # The one after the pause comes at the next place of the grid, and those after it each a tick later, never at once.
    assert at[4] - at[2] >= 30 * MS


def test_the_grid_is_the_same_for_all_processes(loop: Loop) -> None:
    """Never before a place of the grid is reached; how long after it depends on the machine."""
    at: list[int] = []
    run(loop, 3, tick_ns=500 * MS, framed=lambda _number, _frame: at.append(time.monotonic_ns()))
    first, second = at[1] // (500 * MS), at[2] // (500 * MS)
    assert second == first + 1


def test_without_the_compiled_loop_it_runs_in_python_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Any
) -> None:
    monkeypatch.delenv(CHOICE, raising=False)
    assert _loop() is not _tick_on
    assert not caplog.records
    monkeypatch.setattr(mediaclock, "_COMPILED", tmp_path / "libmediaclock.so")
    with caplog.at_level(logging.WARNING):
        assert _loop() is _tick_on
    assert "compiler" in caplog.text


def test_a_library_of_another_version_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Longer(_Clock):
        _fields_ = (("more", ctypes.c_int64),)

    monkeypatch.delenv(CHOICE, raising=False)
    monkeypatch.setattr(mediaclock, "_Clock", Longer)
    with caplog.at_level(logging.WARNING):
        assert _loop() is _tick_on
    assert "another version" in caplog.text


def test_the_number_of_ticks_is_odd_while_one_is_under_way(loop: Loop) -> None:
    seen: list[int] = []
    clock = run(loop, 3, seen=seen)
    assert seen == [1, 3, 5]
    assert clock.ticks == 6


class _Library:
    """What MediaClock asks of PJSIP, with a poll and a bridge of our own."""

    def __init__(self) -> None:
        self.frames = 0
        self.pj_ioqueue_poll = _POLL(lambda _queue, _timeout: 0)
        self.pjmedia_port_get_frame = _GET_FRAME(self._frame)
        for name, value in (
            ("pjsua_get_pjmedia_endpt", 1),
            ("pjmedia_endpt_get_ioqueue", 2),
            ("pjmedia_endpt_stop_threads", 0),
            ("pjsua_set_no_snd_dev", 3),
        ):
            setattr(self, name, self._constant(value))

    def _frame(self, _bridge: int, _frame: Any) -> int:
        self.frames += 1
        return 0

    @staticmethod
    def _constant(value: int) -> Callable[..., int]:
        def function(*_arguments: int) -> int:
            return value

        return function


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("kind", ["compiled", "python"])
def test_it_ticks_between_start_and_stop_and_ends(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOICE, kind)
    library, registered = _Library(), []
    clock = MediaClock(library, 8000, lambda: registered.append(True))  # type: ignore[arg-type]
    assert clock.stalled_s() == 0
    for _ in range(3):
        had = library.frames
        clock.start()
        until(lambda had=had: library.frames > had + 2)  # type: ignore[misc]
        clock.stop()
        assert clock.stalled_s() == 0
    clock.start()
    clock.close()
    had = library.frames
    assert not clock._thread.is_alive()
    assert registered == [True]
    assert library.frames == had


def test_a_tick_that_does_not_end_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    library = _Library()
    hangs = True

    def frame(_bridge: int, _frame: Any) -> int:
        while hangs:
            time.sleep(0.005)
        return 0

    library.pjmedia_port_get_frame = _GET_FRAME(frame)
    clock = MediaClock(library, 8000, lambda: None)  # type: ignore[arg-type]
    clock.start()
    until(lambda: clock.stalled_s() > 0.3)
    hangs = False
    until(lambda: clock.stalled_s() < 0.2)
    clock.close()


def test_it_ticks_where_it_may_not_choose_how_it_is_scheduled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container or a unit may forbid it (EPERM); without the clock no call would have a sound."""

    def refused(*_arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.sched_setscheduler", refused)
    library = _Library()
    clock = MediaClock(library, 8000, lambda: None)  # type: ignore[arg-type]
    clock.start()
    until(lambda: library.frames > 2)
    clock.close()
