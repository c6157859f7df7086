# SPDX-License-Identifier: GPL-3.0-or-later
"""A recorded run, cut off by a power failure: what was promised is on the disk. `make fault` does every point."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fault.disk import Disk, Loss
from fault.injection import Zygote
from fault.powerloss import cut, recorded
from fault.sweep import PHASES
from fault.trace import Create, Remove, Rename, Sync, Truncate, Write

SHARE = {"ledger": 0.15, "personal": 0.3, "vault": 0.4, "init": 0.15}
AT_LEAST = {"ledger": 12, "personal": 15, "vault": 15, "init": 8}
SEED = 3


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    with Zygote(tmp_path_factory.mktemp("zygote")) as zygote:
        yield zygote


@pytest.mark.parametrize("workload", PHASES)
def test_power_is_lost(zygote: Zygote, tmp_path: Path, workload: str, capsys: pytest.CaptureFixture[str]) -> None:
    disk, history = recorded(zygote, tmp_path, workload)
    images, places = cut(disk, history, tmp_path, workload, SHARE[workload], SEED)
    with capsys.disabled():
        print(f" [{workload}: {images} disks after a power cut at {places} places] ", end="")
    assert images >= AT_LEAST[workload]


@pytest.mark.parametrize("workload", PHASES)
def test_who_does_not_wait_for_the_disk_is_found(zygote: Zygote, tmp_path: Path, workload: str) -> None:
    disk, history = recorded(zygote, tmp_path, f"careless-{workload}")
    with pytest.raises(AssertionError, match="power lost"):
        cut(disk, history, tmp_path, f"careless-{workload}", 0.1, SEED)


NOTHING = Loss("nothing", lambda _n: False, lambda _n, _s: False)
EVERYTHING = Loss("everything", lambda _n: True, lambda _n, _s: True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "old").write_bytes(b"old")
    return tmp_path / "root"


def left(disk: Disk, root: Path, loss: Loss) -> dict[str, bytes]:
    target = root.parent / loss.name
    disk.image(target, loss)
    return {path.name: path.read_bytes() for path in target.iterdir()}


def test_the_disk_forgets_what_was_not_synced(root: Path) -> None:
    disk, new = Disk(root), root / "new"
    for operation in (Create(new), Write(new, 0, b"data"), Truncate(root / "old", 1), Remove(root / "old")):
        disk.apply(operation)
    assert left(disk, root, NOTHING) == {"old": b"old"}
    assert left(disk, root, EVERYTHING) == {"new": b"data"}


def test_a_sync_of_a_file_is_none_of_its_name(root: Path) -> None:
    disk, new, final = Disk(root), root / "new", root / "final"
    for operation in (Create(new), Write(new, 0, b"data"), Sync(new), Rename(new, final)):
        disk.apply(operation)
    assert left(disk, root, NOTHING) == {"old": b"old"}
    disk.apply(Sync(root))
    assert left(disk, root, Loss("again", lambda _n: False, lambda _n, _s: False)) == {"old": b"old", "final": b"data"}


def test_a_write_may_be_torn_between_sectors(root: Path) -> None:
    disk, old = Disk(root), root / "old"
    disk.apply(Write(old, 500, b"x" * 600))
    torn = left(disk, root, Loss("torn", lambda _n: True, lambda _n, s: s != 1))["old"]
    assert torn == b"old".ljust(500, b"\0") + b"x" * 12 + bytes(512) + b"x" * 76
