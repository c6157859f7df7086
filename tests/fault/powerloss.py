# SPDX-License-Identifier: GPL-3.0-or-later
"""Cuts the power at every sync and every promise of a recorded run, in several ways each, and judges what is left.

`python -m fault.powerloss` does all of it (make fault); the suite takes a seeded sample.
"""

import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fault.disk import Disk, Loss
from fault.injection import Zygote
from fault.judges import JUDGES, MAKERS
from fault.sweep import PHASES
from fault.trace import Operation, Said, Sync, operations

RANDOM_WAYS = 3


def recorded(zygote: Zygote, folder: Path, workload: str) -> tuple[Disk, list[Operation]]:
    """The disk before a run, and everything that the run did to it."""
    home, trace = folder / f"run-{workload}", folder / f"trace-{workload}"
    plain = workload.removeprefix("careless-")
    MAKERS[plain](home)
    disk = Disk(home)
    outcome = zygote.record(workload, home, PHASES[plain][0], trace)
    if outcome.status != 0:
        raise AssertionError(f"{workload} fails without any fault: {zygote.errors()}")
    history = list(operations(trace))
    told = [operation.what for operation in history if isinstance(operation, Said)]
    # The history is complete only if it holds everything that was heard.
    assert told == [one for one in outcome.said if "at" not in one], "the trace is not what happened"
    return disk, history


def ways(newest: int, rng: random.Random) -> Iterator[Loss]:
    """How the power may go. `newest` is the last change that no sync covers."""
    torn = rng.randrange(1, 9)
    yield Loss("nothing that was not synced", lambda _n: False, lambda _n, _s: False)
    yield Loss("names without data", lambda _n: True, lambda _n, _s: False)
    yield Loss("data without names", lambda _n: False, lambda _n, _s: True)
    yield Loss("everything", lambda _n: True, lambda _n, _s: True)
    yield Loss("the last write torn", lambda _n: True, lambda n, s: n != newest or s < torn)
    yield Loss("all but the last change", lambda n: n != newest, lambda n, _s: n != newest)
    for number in range(RANDOM_WAYS):
        yield _at_random(f"random {number}", rng.getrandbits(32))


def _at_random(name: str, seed: int) -> Loss:
    def stays(number: int) -> bool:
        return random.Random(seed * 1_000_003 + number).random() < 0.5

    return Loss(name, stays, lambda number, sector: stays(number * 4099 + sector))


def cut(
    disk: Disk, history: Sequence[Operation], folder: Path, workload: str, share: float = 1.0, seed: int = 1
) -> tuple[int, int]:
    """Judge a share of all points: (images judged, places where power went). Raises AssertionError with the point."""
    rng, said, seen = random.Random(seed), list[dict[str, Any]](), set[tuple[str, int]]()
    images = places = 0
    for at, operation in enumerate([*history, None]):
        boundary = operation is None or isinstance(operation, Sync) or (at and isinstance(history[at - 1], Said))
        if operation is None or (boundary and rng.random() < share):
            places += 1
            for loss in ways(disk.newest, rng):
                target = folder / "image"
                image = disk.image(target, loss)
                # The same image with the same promises was judged already.
                if (image, len(said)) not in seen:
                    seen.add((image, len(said)))
                    images += 1
                    _judge(
                        workload,
                        target,
                        said,
                        f"{workload}: power lost before operation {at} ({operation}): {loss.name}",
                    )
                shutil.rmtree(target)
        if isinstance(operation, Said):
            said.append(operation.what)
        elif operation is not None:
            disk.apply(operation)
    return images, places


def _judge(workload: str, image: Path, said: Sequence[dict[str, Any]], point: str) -> None:
    try:
        JUDGES[workload.removeprefix("careless-")](image, said, True)
    except Exception as error:
        raise AssertionError(f"{point[:400]}: {type(error).__name__}: {error}") from error


def main() -> int:
    """All points of all workloads, or of those named. 1 when one failed."""
    began, failed, total = time.monotonic(), 0, 0
    with tempfile.TemporaryDirectory(prefix="assent-power-") as name, Zygote(Path(name)) as zygote:
        for workload in sys.argv[1:] or PHASES:
            disk, history = recorded(zygote, Path(name), workload)
            try:
                images, places = cut(disk, history, Path(name), workload)
            except AssertionError as error:
                failed += 1
                print(f"FAILED {error}", flush=True)
                shutil.rmtree(Path(name) / "image", ignore_errors=True)
                continue
            total += images
            print(f"{workload}: {images} different disks after a power cut at {places} places", flush=True)
    print(f"{total} disks judged in {time.monotonic() - began:.0f} s, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
