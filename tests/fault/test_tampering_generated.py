# SPDX-License-Identifier: GPL-3.0-or-later
"""A generated set of more than a thousand changes to a log, and whether verification finds them.

Without the key every change to what is evidence is found, from inside the log. Only an end that was cut off together
with the checkpoints over it needs a checkpoint kept outside; so does everything that somebody with the key signs anew.
"""

import random
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from ivr.audit.findings import Check
from ivr.audit.source import LogSource
from ivr.audit.verify import Kept, verify_log
from ivr.ledger.event import peek
from ivr.ledger.log import Entry
from ivr.ledger.note import VKey
from ivr.ledger.rotate import rotate
from ledger_kit import Home, ended, joined, make_home, recorded_call
from proof_kit import cut, newest
from tampering_kit import Made, beside, flipped, moved, rewritten

SECOND = "01a1ffd6-be82-7d3f-ab83-a1fd14cfaf99"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    home = make_home(tmp_path_factory.mktemp("log"))
    first = home.vkey
    recorded_call(home)
    rotate(home.db, home.keys)
    home.append([joined(SECOND, at_ms=n) for n in range(6)])
    home.append([joined(SECOND, at_ms=7), ended(SECOND)])
    with LogSource(home.db) as source:
        kept = {row.size: row.note for row in source.checkpoints()}
    with closing(sqlite3.connect(home.db)) as db:
        db.execute("PRAGMA journal_mode=DELETE")
    return Made(home, first, kept)


def findings(db: Path, key: VKey, *kept: str) -> set[Check]:
    with LogSource(db) as source:
        report = verify_log(source, key, [Kept(note, "outside") for note in kept])
    return {finding.check for finding in report.findings}


# -- without the key --


def test_every_change_without_the_key_is_found(made: Made, tmp_path: Path) -> None:
    dice = random.Random(20260102)
    kinds: Counter[str] = Counter()
    missed: list[str] = []
    place = tmp_path / "log.sqlite"
    for changes in (flipped, rewritten, moved, beside):
        for kind, change in changes(made, dice):
            shutil.copyfile(made.home.db, place)
            with closing(sqlite3.connect(place)) as db, db:
                db.execute("PRAGMA synchronous=OFF")
                before = db.total_changes
                change(db)
                assert db.total_changes > before, kind
            kinds[kind] += 1
            if not findings(place, made.first):
                missed.append(kind)
    assert missed == []
    assert kinds.total() >= 1000, kinds
    assert len(kinds) >= 25, kinds


def test_a_cut_end_is_found_against_what_was_kept(made: Made, tmp_path: Path) -> None:
    """Nothing inside the log can tell that it was longer: this is why checkpoints belong outside."""
    size = max(made.kept)
    for left in range(2, size):
        place = copied(made, tmp_path / str(left))
        cut(place, left)
        for kept, note in made.kept.items():
            assert findings(place.db, made.first, note) & {Check.CUT, Check.CHECKPOINT} or kept <= left, (left, kept)


# -- with the key --


def copied(made: Made, folder: Path) -> Home:
    folder.mkdir()
    shutil.copytree(made.home.keys, folder / "keys")
    shutil.copyfile(made.home.db, folder / "log.sqlite")
    return Home(folder)


def test_a_history_that_was_signed_anew_is_found_against_what_was_kept(made: Made, tmp_path: Path) -> None:
    """From each event on, with the key in force: signatures, chain, tree and checkpoints are all made again."""
    size = max(made.kept)
    changed = 0
    for start in range(10, size):
        for variant in range(12):
            place = copied(made, tmp_path / f"{start}-{variant}")
            with LogSource(place.db) as source:
                entries = [
                    Entry(e.type, e.call, dict(e.data))
                    for e in (peek(row.jws) for row in source.rows())
                    if e.seq >= start
                ]
            cut(place, start)
            entries[variant % len(entries)] = joined(SECOND, at_ms=900 + variant)
            place.append(entries[: len(entries) - variant % 3] or entries)
            # All of it is signed with the true key: alone, it holds.
            assert findings(place.db, made.first) == set()
            assert len(made.kept) == 5
            found = {kept: findings(place.db, made.first, note) for kept, note in made.kept.items()}
            assert all(bool(checks) is (kept > start) for kept, checks in found.items()), (start, variant, found)
            changed += 1
    assert changed >= 90


def test_a_whole_new_log_under_the_old_name_is_found(made: Made, tmp_path: Path) -> None:
    """By somebody who makes a key of his own: the auditor's key is none of its keys."""
    (tmp_path / "new").mkdir()
    new = make_home(tmp_path / "new")
    recorded_call(new)
    assert Check.KEY in findings(new.db, made.first)
    assert Check.CHECKPOINT in findings(new.db, new.vkey, newest(made.home))
