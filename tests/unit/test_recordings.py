# SPDX-License-Identifier: GPL-3.0-or-later
"""What the log says of recordings is kept in a memory that does not grow with the log, and nothing of it is lost."""

import gc
from collections import Counter
from pathlib import Path

import pytest

from ivr.audit import spill
from ivr.audit.files import check_files
from ivr.audit.findings import Check
from ivr.audit.recordings import Recording, Segment
from ivr.audit.source import LogSource, SourceError
from ivr.audit.spill import KEPT, Spill
from ivr.audit.verify import verify_log
from ivr.ledger.ids import uuid7
from ivr.ledger.log import Entry
from ivr.ledger.note import Checkpoint
from ledger_kit import CALL, Home, make_home, permitted, received, started, stopped

MANY = 300
FEW = 40


def facts(n: int) -> list[dict[str, object]]:
    return [{"n": 0, "start": 0, "samples": 100 + n, "sha256": f"{n:064x}", "bytes": 50}]


def recorded(name: str, n: int) -> list[Entry]:
    return [permitted(recording=name), started(recording=name), stopped(facts(n), recording=name)]


def many(home: Home, names: list[str]) -> None:
    home.append([received(), *(entry for n, name in enumerate(names) for entry in recorded(name, n))])


def alive(kinds: tuple[type, ...]) -> int:
    """The greater of the numbers of objects of each kind."""
    found = Counter(map(type, gc.get_objects()))
    return max(found[kind] for kind in kinds)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def test_few_recordings_are_alive_while_many_are_verified(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ivr.audit.verify.PROGRESS_EVERY", 100)
    names = [uuid7() for _ in range(MANY)]
    many(home, names)
    seen: list[int] = []

    def look(_done: int, _all: int) -> None:
        seen.append(alive((Recording, Segment)))

    with LogSource(home.db) as source:
        report = verify_log(source, home.vkey, on_progress=look)
    assert report.holds
    assert len(report.recordings) == MANY
    counts = [alive((Recording, Segment)) for one in report.recordings if one.id in names[::40]]
    assert len(counts) == len(names[::40])
    assert max(seen + counts) <= FEW
    assert [finding.check for finding in check_files(home.recordings, report.recordings)] == (
        [Check.SEGMENT_MISSING] * MANY
    )


def test_what_left_memory_is_as_it_was_logged(home: Home) -> None:
    names = [uuid7() for _ in range(MANY)]
    many(home, names)
    # The first is long out of memory: what comes now is about it.
    home.append([Entry("recording.erased", CALL, {"recording": names[0], "reason": "test"}), *recorded(uuid7(), 1)])
    recordings = home.report().recordings
    assert [one.id for one in recordings][:MANY] == names
    assert [list(one.segments.values()) for one in recordings][:MANY] == [
        [Segment(0, 0, 100 + n, f"{n:064x}", 50)] for n in range(MANY)
    ]
    first, second = recordings.get(names[0]), recordings.get(names[1])
    assert first is not None
    assert second is not None
    assert (first.call, first.started, first.stopped, first.samples) == (CALL, 4, 5, 100)
    assert first.erased == 3 + 3 * MANY
    assert second.erased is None
    assert recordings.get(uuid7()) is None


def test_contradictions_with_what_left_memory_are_found(home: Home) -> None:
    names = [uuid7() for _ in range(MANY)]
    late = uuid7()
    home.append([received(), permitted(recording=late)])
    home.append([entry for n, name in enumerate(names) for entry in recorded(name, n)])
    again, wrong = stopped(facts(0), recording=names[0]), stopped(facts(7), recording=late, samples=3)
    home.append([again, started(recording=late), wrong, started(recording=uuid7())])
    last = home.report().events - 1
    assert [(finding.event, finding.check) for finding in home.verify()] == [
        (last - 3, Check.RECORDING),
        (last, Check.RECORDING),
        (last - 1, Check.RECORDING),
    ]


def test_only_a_lost_stop_accounts_for_what_never_started(home: Home) -> None:
    lost, other, open_end = uuid7(), uuid7(), uuid7()
    home.append([received(), *(permitted(recording=name) for name in (lost, other, open_end))])
    home.append([stopped(facts(0), recording=lost, reason="lost"), stopped(facts(1), recording=other)])
    sealed = {"at_ms": 9, "recording": open_end, "number": 1, "segments": facts(2)}
    home.append([Entry("recording.sealed", CALL, sealed), stopped(facts(3), recording=uuid7(), reason="lost")])
    last = home.report().events - 1
    assert sorted((finding.event, finding.check) for finding in home.verify()) == [
        (last - 2, Check.RECORDING),
        (last - 1, Check.RECORDING),
        (last, Check.RECORDING),
    ]
    kept = home.report().recordings.get(lost)
    assert kept is not None
    assert (kept.samples, len(kept.segments)) == (100, 1)


def test_names_that_are_no_unicode() -> None:
    known: Spill[int] = Spill(int, int)
    names = [f"\ud800{n}" for n in range(3 * KEPT)]
    for n, name in enumerate(names):
        known.put(name, n)
    known.put(names[0], 77)
    assert known.get(names[1]) == 1
    assert list(known) == [77, *range(1, 3 * KEPT)]


def test_a_temporary_file_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "_WRITE", "INSERT INTO nowhere VALUES (?, ?, ?)")
    known: Spill[int] = Spill(int, int)
    for n in range(KEPT):
        known.put(str(n), n)
    with pytest.raises(SourceError, match=r"temporary file.*SQLITE_TMPDIR"):
        known.put("one more", 1)


def test_few_checkpoints_are_alive_while_many_are_verified(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ivr.audit.verify.PROGRESS_EVERY", 15)
    for _ in range(60):
        home.append([received(uuid7())], checkpoint=True)
    seen: list[int] = []

    def look(_done: int, _all: int) -> None:
        seen.append(alive((Checkpoint,)))

    with LogSource(home.db) as source:
        report = verify_log(source, home.vkey, on_progress=look)
    assert report.holds
    assert report.checkpoints == 61
    assert max(seen) <= 5
