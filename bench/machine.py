# SPDX-License-Identifier: GPL-3.0-or-later
"""What was measured on: a figure without its machine means nothing."""

import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path


def describe(folder: Path) -> Mapping[str, object]:
    """Processor, cores, kernel, versions, how busy it was before the run, and how long an fsync takes there."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        "fsync_ms": _fsync_ms(folder),
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _fsync_ms(folder: Path) -> float:
    """Median of 20 appends of 4 KiB, each made durable: the floor under every acknowledgement."""
    file = folder / "fsync"
    took = []
    with file.open("wb", buffering=0) as out:
        for _ in range(20):
            out.write(bytes(4096))
            began = time.perf_counter()
            os.fdatasync(out.fileno())
            took.append(time.perf_counter() - began)
    file.unlink()
    return round(sorted(took)[10] * 1000, 2)


class Busy:
    """How busy the whole machine was meanwhile, its own load included, and how much of it others took from us."""

    def __init__(self) -> None:
        self._before = self._read()

    @staticmethod
    def _read() -> list[int]:
        return [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]

    def shares(self) -> Mapping[str, int]:
        """Percent busy, and percent stolen by the hypervisor, since it was made."""
        user, nice, system, idle, iowait, irq, softirq, steal = (
            now - then for now, then in zip(self._read(), self._before, strict=True)
        )
        total = max(1, user + nice + system + idle + iowait + irq + softirq + steal)
        return {"busy_percent": 100 * (total - idle - iowait) // total, "stolen_percent": 100 * steal // total}
