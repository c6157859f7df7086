# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault at every point: kill, EIO and ENOSPC at the n-th write, sync, rename, removal, for every n, judged.

`python -m fault.sweep` does all of it (make fault); the suite takes a seeded sample.
"""

import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from fault.injection import Point, Zygote
from fault.judges import JUDGES, MAKERS

PHASES = {
    "ledger": ("open", "append", "close"),
    "personal": ("keep", "erase", "again"),
    "vault": ("record", "withdraw", "erase"),
    "init": ("init",),
}
_ROOM = frozenset({"write", "pwrite64", "fsync", "fdatasync", "rename", "ftruncate", "mkdir"})


def points(zygote: Zygote, folder: Path, workload: str) -> Iterator[Point]:
    """Every point of a workload: phase, call, n and fault."""
    phases = PHASES[workload]
    for phase, until in zip(phases, (*phases[1:], "end"), strict=True):
        home = folder / f"count-{workload}-{phase}"
        shutil.copytree(_fresh(folder, workload), home)
        for syscall, most in sorted(zygote.count(workload, home, phase, until).items()):
            faults = ("KILL", "EIO", "ENOSPC") if syscall in _ROOM else ("KILL", "EIO")
            yield from (Point(workload, phase, syscall, n, fault) for n in range(1, most + 1) for fault in faults)
        shutil.rmtree(home)


def sample(every: Iterable[Point], size: int, seed: int) -> list[Point]:
    """`size` of them, of each (phase, call, fault) at least one where there is room."""
    rng = random.Random(seed)
    pool = list(every)
    rng.shuffle(pool)
    kinds: Counter[tuple[str, ...]] = Counter()
    ranked = []
    for place, point in enumerate(pool):
        kind = (point.workload, point.phase, point.syscall, point.fault)
        kinds[kind] += 1
        ranked.append((kinds[kind], place, point))
    return [point for _, _, point in sorted(ranked, key=lambda one: one[:2])][:size]


def strike(zygote: Zygote, folder: Path, point: Point) -> bool:
    """Run one point and judge it; whether the fault came. Raises AssertionError that names the point."""
    home = folder / "home"
    shutil.copytree(_fresh(folder, point.workload), home)
    outcome = zygote.strike(point, home)
    try:
        assert outcome.status in (0, -9), f"the victim broke off with {outcome.status}: {zygote.errors()}"
        JUDGES[point.workload](home, outcome.said, outcome.status == -9)
    except Exception as error:
        raise AssertionError(f"{point}: {type(error).__name__}: {error}\nit had said {outcome.said}") from error
    shutil.rmtree(home)
    return outcome.struck


def _fresh(folder: Path, workload: str) -> Path:
    # Made once: keys and a first checkpoint cost more than the fault.
    fresh = folder / f"fresh-{workload}"
    if not fresh.exists():
        MAKERS[workload](fresh)
    return fresh


def main() -> int:
    """The whole sweep; a failed point is told and the sweep goes on. 1 when there was one."""
    began, failed, struck, tried = time.monotonic(), 0, 0, 0
    with tempfile.TemporaryDirectory(prefix="assent-fault-") as name, Zygote(Path(name)) as zygote:
        for workload in sys.argv[1:] or PHASES:
            for point in points(zygote, Path(name), workload):
                tried += 1
                try:
                    struck += strike(zygote, Path(name), point)
                except AssertionError as error:
                    failed += 1
                    print(f"FAILED {error}", flush=True)
                    shutil.rmtree(Path(name) / "home", ignore_errors=True)
            print(f"{workload}: {struck} of {tried} points struck so far, {failed} failed", flush=True)
    print(f"{struck} points covered in {time.monotonic() - began:.0f} s, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
