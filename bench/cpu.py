# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU time of other processes, all their threads included, also those that have ended.

/proc/PID/stat counts in ticks of 10 ms, which is coarse beside a call's cost; the process's CPU clock is the same
account in ns (clock_getcpuclockid(3)).
"""

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress


def used(pids: Iterable[int]) -> Mapping[int, float]:
    """CPU-seconds of each process so far, user and system. One that is gone is left out."""
    found = {}
    for pid in pids:
        with suppress(OSError):
            found[pid] = time.clock_gettime_ns(_clock(pid)) / 1e9
    return found


def _clock(pid: int) -> int:
    # What clock_getcpuclockid does on Linux: the pid's complement, and 2 for the scheduler's account.
    return (~pid << 3) | 2


def between(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    """CPU-seconds between two readings, of processes in both."""
    return sum(after[pid] - before[pid] for pid in before.keys() & after.keys())
