# SPDX-License-Identifier: GPL-3.0-or-later
"""One thread for all media of a worker: every 20 ms it takes in the RTP that came and lets the bridge make a frame.

PJSIP's own way is a thread that wakes for every packet and another that is the clock; with four legs that is 250
wake-ups a second instead of 50, and a third more CPU. The price: a packet waits up to one tick, 10 ms on average.
Callbacks for keys and ends of files come from this thread. While no leg is up it waits for an event and costs nothing.

The loop is there twice. mediaclock.c is compiled when Assent is installed; where no compiler was at hand, or with
ASSENT_MEDIA_CLOCK=python in the environment, the same loop runs in Python, and a call costs a fifth more CPU.
"""

import ctypes
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

TICK_S = 0.02
"""One frame of the bridge, and the packet time of G.711."""

FULL_POLL = 16
"""Events that one poll works off at most (PJ_IOQUEUE_MAX_EVENTS_IN_SINGLE_POLL); after fewer, nothing is left."""

MOST_POLLS = 4
"""Polls at one tick: four legs with RTP and RTCP have eight sockets, and a flood must not hold up the clock."""

SLACK_NS = 2_000_000
"""By so much a tick may come later, in ns: the kernel then wakes many workers with one interrupt."""

LATE_S = 0.2
"""So far behind the clock does not run to catch up but starts anew."""

CHOICE = "ASSENT_MEDIA_CLOCK"
"""Environment: `python` for the loop in Python even where the compiled one is there."""

_COMPILED = Path(__file__).with_name("libmediaclock.so")
_Pointer = ctypes.c_void_p
_PR_SET_TIMERSLACK = 29


class _TimeVal(ctypes.Structure):
    """pj_time_val."""

    _fields_ = (("sec", ctypes.c_long), ("msec", ctypes.c_long))


class _Frame(ctypes.Structure):
    """pjmedia_frame."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("buf", _Pointer),
        ("size", ctypes.c_size_t),
        ("timestamp", ctypes.c_uint64),
        ("bit_info", ctypes.c_uint32),
    )


class _Clock(ctypes.Structure):
    """What both loops read: `struct clock` of mediaclock.c."""

    _fields_ = (
        ("poll", _Pointer),
        ("get_frame", _Pointer),
        ("queue", _Pointer),
        ("bridge", _Pointer),
        ("buffer", _Pointer),
        ("samples", ctypes.c_int32),
        ("full_poll", ctypes.c_int32),
        ("most_polls", ctypes.c_int32),
        ("ticking", ctypes.c_int32),
        ("tick_ns", ctypes.c_int64),
        ("late_ns", ctypes.c_int64),
        ("turned_ns", ctypes.c_int64),
        ("ticks", ctypes.c_int64),
    )


class MediaClock:
    """`start` and `stop` the clock from the event loop; `close` before the library is destroyed."""

    def __init__(self, library: ctypes.CDLL, rate: int, register: Callable[[], None]) -> None:
        """`register` makes a thread known to PJLIB. The library must have been started, with a media I/O queue."""
        self._library = library
        self._register = register
        self._ticking = threading.Event()
        self._ending = False
        samples = int(rate * TICK_S)
        self._buffer = ctypes.create_string_buffer(samples * 2)
        self._clock = self._prepare(samples)
        self._tick_on = _loop()
        self._thread = threading.Thread(target=self._run, name="media", daemon=True)
        self._thread.start()

    def _prepare(self, samples: int) -> _Clock:
        lib = self._library
        for name, result, arguments in (
            ("pjsua_get_pjmedia_endpt", _Pointer, []),
            ("pjmedia_endpt_get_ioqueue", _Pointer, [_Pointer]),
            ("pjmedia_endpt_stop_threads", ctypes.c_int, [_Pointer]),
            ("pjsua_set_no_snd_dev", _Pointer, []),
        ):
            function: Any = getattr(lib, name)
            function.restype, function.argtypes = result, arguments
        endpoint = lib.pjsua_get_pjmedia_endpt()
        lib.pjmedia_endpt_stop_threads(endpoint)
        return _Clock(
            poll=ctypes.cast(lib.pj_ioqueue_poll, _Pointer),
            get_frame=ctypes.cast(lib.pjmedia_port_get_frame, _Pointer),
            queue=lib.pjmedia_endpt_get_ioqueue(endpoint),
            bridge=lib.pjsua_set_no_snd_dev(),
            buffer=ctypes.cast(self._buffer, _Pointer),
            samples=samples,
            full_poll=FULL_POLL,
            most_polls=MOST_POLLS,
            tick_ns=int(TICK_S * 1e9),
            late_ns=int(LATE_S * 1e9),
        )

    def start(self) -> None:
        """Ticks from now on."""
        if not self._ticking.is_set():
            self._clock.turned_ns = time.monotonic_ns()
        self._clock.ticking = 1
        self._ticking.set()

    def stop(self) -> None:
        """No tick any more, at the latest after the one that is under way."""
        self._ticking.clear()
        self._clock.ticking = 0

    def ticks(self) -> int:
        """Counts twice for each frame of the bridge: odd while one is made, which writes one port after the other."""
        return int(self._clock.ticks)

    def stalled_s(self) -> float:
        """For how long it should have ticked and did not, in seconds."""
        return (time.monotonic_ns() - self._clock.turned_ns) / 1e9 if self._ticking.is_set() else 0.0

    def close(self) -> None:
        """Ends the thread."""
        self._ending = True
        self.stop()
        self._ticking.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        self._register()
        _share_the_processor()
        while not self._ending:
            self._ticking.wait()
            self._tick_on(ctypes.byref(self._clock))


def _loop() -> Callable[[Any], None]:
    if os.environ.get(CHOICE) == "python":
        return _tick_on
    try:
        library = ctypes.CDLL(str(_COMPILED))
        compiled: Any = library.assent_tick_on
        if library.assent_clock_size() != ctypes.sizeof(_Clock):
            raise OSError(f"{_COMPILED} is of another version")
    except (OSError, AttributeError) as error:
        log.warning("the media clock runs in Python, at more CPU: no C compiler at installation? %s", error)
        return _tick_on
    compiled.restype, compiled.argtypes = None, [ctypes.POINTER(_Clock)]
    return compiled  # type: ignore[no-any-return]


def _tick_on(shared: Any) -> None:
    """Ticks until `ticking` is 0. Names are local and the frame is made once: it runs 50 times a second."""
    clock: _Clock = shared._obj
    poll = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, _Pointer)(clock.poll)
    get_frame = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, _Pointer)(clock.get_frame)
    queue, bridge, samples, tick_ns = clock.queue, clock.bridge, clock.samples, clock.tick_ns
    frame = _Frame(0, clock.buffer, 0, 0, 0)
    zero = _TimeVal(0, 0)
    no_wait, into = ctypes.addressof(zero), ctypes.addressof(frame)
    due = (time.monotonic_ns() // tick_ns + 1) * tick_ns
    while clock.ticking:
        for _ in range(clock.most_polls):
            if poll(queue, no_wait) < clock.full_poll:
                break
        frame.size = samples * 2
        clock.ticks += 1
        get_frame(bridge, into)
        clock.ticks += 1
        frame.timestamp += samples
        due += tick_ns
        now = clock.turned_ns = time.monotonic_ns()
        if due > now:
            time.sleep((due - now) / 1e9)
        elif now - due > clock.late_ns:
            due = (now // tick_ns + 1) * tick_ns


def _share_the_processor() -> None:
    """For the calling thread: a tick that is due does not push another worker's tick off the processor half done.

    SCHED_BATCH (sched(7)) wakes without preempting; the wait is a few ms at most, well inside a jitter buffer.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError as error:  # a container or a unit may forbid it; calls go on without
        log.info("the media clock is scheduled like any thread: %s", error)
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(SLACK_NS), 0, 0, 0)
