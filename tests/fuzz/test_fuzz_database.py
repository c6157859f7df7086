# SPDX-License-Identifier: GPL-3.0-or-later
"""A database with bytes changed, cut or moved: it is found, or cannot be read, or nothing that counts changed."""

import random
import shutil
from pathlib import Path

import pytest

from ivr.audit.source import LogSource, SourceError
from ivr.audit.verify import verify_log
from ledger_kit import Home, make_home, recorded_call

MUTANTS = 1200
SEED = 5


def evidence(path: Path) -> tuple[tuple[object, ...], tuple[object, ...], tuple[object, ...]]:
    """All that is proof: events, disclosures, checkpoints."""
    with LogSource(path) as source:
        return tuple(source.rows()), tuple(source.disclosures()), tuple(source.checkpoints())


def mutated(raw: bytes, rng: random.Random) -> bytes:
    changed = bytearray(raw)
    for _ in range(rng.choice([1, 1, 1, 4])):
        at, length = rng.randrange(len(changed)), rng.choice([1, 1, 2, 16, 512])
        match rng.randrange(5):
            case 0:
                changed[at] ^= 1 << rng.randrange(8)
            case 1:
                changed[at : at + length] = rng.randbytes(len(changed[at : at + length]))
            case 2:
                other = rng.randrange(len(changed))
                changed[at : at + length] = changed[other : other + len(changed[at : at + length])]
            case 3:
                changed[at : at + length] = bytes(len(changed[at : at + length]))
            case _:
                page, other = at // 4096 * 4096, rng.randrange(len(changed)) // 4096 * 4096
                changed[page : page + 4096], changed[other : other + 4096] = (
                    changed[other : other + 4096],
                    changed[page : page + 4096],
                )
    return bytes(changed[: rng.randrange(1, len(changed))] if rng.random() < 0.05 else changed)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    made = make_home(tmp_path_factory.mktemp("home"))
    recorded_call(made)
    return made


def test_no_change_of_the_file_is_accepted(home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    original, raw, rng = evidence(home.db), home.db.read_bytes(), random.Random(SEED)
    unreadable = found = elsewhere = 0
    copy = tmp_path / "log.sqlite"
    for number in range(MUTANTS):
        copy.write_bytes(mutated(raw, rng))
        try:
            with LogSource(copy) as source:
                report = verify_log(source, home.vkey)
        except SourceError:
            unreadable += 1
            continue
        if report.findings:
            found += 1
            continue
        events, disclosures, checkpoints = evidence(copy)
        # Personal fields may go (erasure); of all else nothing may differ.
        assert (events, checkpoints) == (original[0], original[2]), f"mutant {number} passes"
        assert set(disclosures) <= set(original[1])
        elsewhere += 1
    with capsys.disabled():
        print(f" [{found} mutants found, {unreadable} not readable, {elsewhere} changed nothing that counts] ", end="")
    assert found >= 50


def test_a_file_that_is_no_database(tmp_path: Path, home: Home) -> None:
    rng = random.Random(SEED)
    for content in (
        b"",
        b"\0" * 100,
        b"SQLite format 3\0",
        b"SQLite format 3\0" + rng.randbytes(5000),
        rng.randbytes(9000),
    ):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(SourceError), LogSource(tmp_path / "x") as source:
            verify_log(source, home.vkey)


def test_a_log_beside_a_wal_of_another(home: Home, tmp_path: Path) -> None:
    copy = tmp_path / "log.sqlite"
    shutil.copy(home.db, copy)
    (tmp_path / "log.sqlite-wal").write_bytes(random.Random(SEED).randbytes(40_000))
    with LogSource(copy) as source:
        assert verify_log(source, home.vkey).findings == []
    assert evidence(copy) == evidence(home.db)
