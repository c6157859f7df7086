# SPDX-License-Identifier: GPL-3.0-or-later
"""One thread for all media of a worker: every 20 ms it takes in the RTP that came and lets the bridge make a frame.

PJSIP's own way is a thread that wakes for every packet and another that is the clock; with four legs that is 250
wake-ups a second instead of 50, and a third more CPU. The price: a packet waits up to one tick, 10 ms on average.
Callbacks for keys and ends of files come from this thread. While no leg is up it waits for an event and costs nothing.
"""

import ctypes
import logging
import os
import threading
import time
from collections.abc import Callable
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


class MediaClock:
    """`start` and `stop` the clock from the event loop; `close` before the library is destroyed."""

    def __init__(self, library: ctypes.CDLL, rate: int, register: Callable[[], None]) -> None:
        """`register` makes a thread known to PJLIB. The library must have been started, with a media I/O queue."""
        self._library = library
        self._samples = int(rate * TICK_S)
        self._register = register
        self._ticking = threading.Event()
        self._ending = False
        self._turned = 0.0
        self._prepare()
        self._thread = threading.Thread(target=self._run, name="media", daemon=True)
        self._thread.start()

    def _prepare(self) -> None:
        lib = self._library
        for name, result, arguments in (
            ("pjsua_get_pjmedia_endpt", _Pointer, []),
            ("pjmedia_endpt_get_ioqueue", _Pointer, [_Pointer]),
            ("pjmedia_endpt_stop_threads", ctypes.c_int, [_Pointer]),
            ("pjsua_set_no_snd_dev", _Pointer, []),
            ("pj_ioqueue_poll", ctypes.c_int, [_Pointer, _Pointer]),
            ("pjmedia_port_get_frame", ctypes.c_int, [_Pointer, _Pointer]),
        ):
            function: Any = getattr(lib, name)
            function.restype, function.argtypes = result, arguments
        endpoint = lib.pjsua_get_pjmedia_endpt()
        lib.pjmedia_endpt_stop_threads(endpoint)
        self._queue = lib.pjmedia_endpt_get_ioqueue(endpoint)
        self._bridge = lib.pjsua_set_no_snd_dev()

    def start(self) -> None:
        """Ticks from now on."""
        if not self._ticking.is_set():
            self._turned = time.monotonic()
        self._ticking.set()

    def stop(self) -> None:
        """No tick any more, at the latest after the one that is under way."""
        self._ticking.clear()

    def stalled_s(self) -> float:
        """For how long it should have ticked and did not, in seconds."""
        return time.monotonic() - self._turned if self._ticking.is_set() else 0.0

    def close(self) -> None:
        """Ends the thread."""
        self._ending = True
        self._ticking.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        self._register()
        _share_the_processor()
        while not self._ending:
            self._ticking.wait()
            self._tick_on()

    def _tick_on(self) -> None:
        """The loop of the clock. Names are local and the frame is made once: it runs 50 times a second."""
        poll, get_frame = self._library.pj_ioqueue_poll, self._library.pjmedia_port_get_frame
        queue, bridge, samples = self._queue, self._bridge, self._samples
        buffer = ctypes.create_string_buffer(samples * 2)
        frame = _Frame(0, ctypes.cast(buffer, _Pointer), samples * 2, 0, 0)
        zero = _TimeVal(0, 0)
        no_wait, into = ctypes.addressof(zero), ctypes.addressof(frame)
        due = _next_tick()
        while self._ticking.is_set() and not self._ending:
            for _ in range(MOST_POLLS):
                if poll(queue, no_wait) < FULL_POLL:
                    break
            frame.size = samples * 2
            get_frame(bridge, into)
            frame.timestamp += samples
            due += TICK_S
            now = self._turned = time.monotonic()
            left = due - now
            if left > 0:
                time.sleep(left)
            elif left < -LATE_S:
                due = _next_tick()


def _next_tick() -> float:
    """On a grid that all workers of this machine share: their ticks follow each other with the code still in cache."""
    return (time.monotonic() // TICK_S + 1) * TICK_S


def _share_the_processor() -> None:
    """For the calling thread: a tick that is due does not push another worker's tick off the processor half done.

    SCHED_BATCH (sched(7)) wakes without preempting; the wait is a few ms at most, well inside a jitter buffer.
    """
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(SLACK_NS), 0, 0, 0)
