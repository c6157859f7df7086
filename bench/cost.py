# SPDX-License-Identifier: GPL-3.0-or-later
"""What so many calls cost a set of processes while they stand: CPU-seconds a call-minute, and memory."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import cpu

PAUSE_S = 0.03


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU-seconds a call-minute, in all and by role, and memory (PSS) a call in MB."""

    total: float
    parts: Mapping[str, float]
    memory: float


def used(by_role: Mapping[str, set[int]], calls: int, seconds: float) -> Cost:
    """Measures for so many seconds."""
    pids = set().union(*by_role.values())
    before, began = cpu.used(pids), time.monotonic()
    time.sleep(seconds)
    after, ended = cpu.used(pids), time.monotonic()
    minutes = calls * (ended - began) / 60
    parts = {
        role: sum(after[pid] - before[pid] for pid in members if pid in before and pid in after) / minutes
        for role, members in by_role.items()
    }
    return Cost(sum(parts.values()), parts, _pss_mb(pids) / calls)


def _pss_mb(pids: set[int]) -> float:
    """Memory with shared pages counted once, as the kernel apportions them (proc(5), smaps_rollup).

    A process's takes the kernel some ms, in which nothing else runs on that core: so one after the other, with pauses.
    """
    total = 0
    for pid in pids:
        time.sleep(PAUSE_S)
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024
