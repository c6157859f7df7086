# SPDX-License-Identifier: GPL-3.0-or-later
"""A seeded sample of the fault sweep: kill, EIO or ENOSPC at one system call, then restart. `make fault`: all of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fault.injection import Zygote
from fault.sweep import PHASES, points, sample, strike

SAMPLES = {"ledger": 14, "personal": 6, "vault": 8, "init": 5}
# What there is to choose from; fewer would mean that the workload no longer does its work.
AT_LEAST = {"ledger": 800, "personal": 150, "vault": 180, "init": 350}
SEED = 20260102


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    with Zygote(tmp_path_factory.mktemp("zygote")) as zygote:
        yield zygote


@pytest.mark.parametrize("workload", PHASES)
def test_a_fault_at_any_system_call(
    zygote: Zygote, tmp_path: Path, workload: str, capsys: pytest.CaptureFixture[str]
) -> None:
    every = list(points(zygote, tmp_path, workload))
    chosen = sample(every, SAMPLES[workload], SEED)
    struck = sum(strike(zygote, tmp_path, point) for point in chosen)
    with capsys.disabled():
        print(f" [{workload}: {struck} of {len(every)} fault points] ", end="")
    assert len(every) >= AT_LEAST[workload]
    # A few may come too late: how many calls a burst makes depends on how its events fall into groups.
    assert struck >= len(chosen) * 3 // 4
