# SPDX-License-Identifier: GPL-3.0-or-later
"""The log by itself: time, recovery, and the refusal to extend what does not verify. The clock's watch too."""

from pathlib import Path

import pytest

from ivr.audit.source import LogSource, SourceError
from ivr.ledger.clock import ClockWatch
from ivr.ledger.errors import LedgerConflict, LedgerFatal, LedgerMissing
from ivr.ledger.keys import create_keys, load_pseudonym_key
from ivr.ledger.log import Log
from ivr.ledger.query import LogReader
from ledger_kit import CALL, Home, ended, joined, make_home, received, recorded_call, types


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def edit(home: Home, statement: str) -> None:
    home.run(statement)


def test_the_log_goes_on_after_any_end(home: Home) -> None:
    for sealed in (False, True, False, False):
        home.append([received(), joined()], checkpoint=sealed)
        assert home.verify() == []
    assert len(types(home)) == 10


def test_time_never_goes_back(home: Home) -> None:
    times = iter(["2030-01-02T00:00:00.000000Z", "2030-01-01T00:00:00.000000Z"])
    log = home.open(clock=lambda: next(times))
    first, second = log.append([received()])[0], log.append([ended()])[0]
    assert first.time == second.time == "2030-01-02T00:00:00.000000Z"
    log.close()
    assert home.verify() == []


def test_a_failed_write_leaves_the_log_as_it_was(home: Home) -> None:
    log, entry = home.open(), joined()
    log.append([received(), entry])
    size = log.size
    with pytest.raises(LedgerConflict):
        log.append([ended(), entry])
    assert log.size == size
    log.append([ended()], checkpoint=True)
    log.close()
    assert home.verify() == []


def test_nothing_is_overwritten(home: Home) -> None:
    with pytest.raises(FileExistsError):
        Log.create(home.db, home.key, load_pseudonym_key(home.keys))
    assert home.verify() == []


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE events SET jws = replace(jws, 'e', 'f') WHERE seq = 3", "event 3"),
        ("UPDATE events SET leaf = zeros WHERE seq = 3", "event 3"),
        ("DELETE FROM events WHERE seq = 2", "not chained|not the one"),
        ("DELETE FROM events WHERE seq = 1", "not chained|is missing"),
        ("UPDATE checkpoints SET frontier = zeros", "not of this tree|subtrees"),
        ("UPDATE checkpoints SET note = 'x'", "checkpoint"),
        ("DELETE FROM checkpoints", "no checkpoint"),
    ],
)
def test_a_changed_log_is_not_extended(home: Home, statement: str, said: str) -> None:
    home.append([received(), joined()], checkpoint=False)
    edit(home, "DELETE FROM disclosures")
    edit(home, "DELETE FROM pseudonyms")
    edit(home, statement)
    with pytest.raises(LedgerFatal, match=said):
        home.open()


def test_the_log_of_another_key_is_not_extended(home: Home, tmp_path: Path) -> None:
    (tmp_path / "k").mkdir()
    other = create_keys(tmp_path / "k", "example.org/other")
    with pytest.raises(LedgerMissing, match="belongs to"):
        Log.open(home.db, other, b"k" * 32)


def test_another_schema_is_refused(home: Home) -> None:
    edit(home, "UPDATE meta SET value = '99' WHERE name = 'schema'")
    with pytest.raises(LedgerMissing, match="schema 99"):
        home.open()


def test_what_is_no_database_is_an_error(home: Home, tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.write_bytes(b"x" * 4096)
    with pytest.raises(SourceError, match="junk"):
        LogSource(junk)
    with pytest.raises(LedgerMissing, match="junk"):
        LogReader(junk)
    with pytest.raises(LedgerFatal, match="junk"):
        Log.open(junk, home.key, b"k" * 32)


def test_reading_does_not_write(home: Home) -> None:
    recorded_call(home)
    before = home.db.read_bytes()
    home.db.chmod(0o400)
    with LogReader(home.db) as log, LogSource(home.db) as source:
        assert len(list(log.events(CALL))) == 6
        assert len(list(source.rows())) == 8
    assert home.db.read_bytes() == before


def test_a_call_is_found_by_its_end_and_several_are_named(home: Home) -> None:
    ends = ("810c422c5cd9", "0000422c5cd9", "01a1ffd6be82", "000000000001", "000000000002", "000000000003")
    same_minute = [f"{CALL[:24]}{end}" for end in ends]
    home.append([received(call) for call in same_minute])
    with LogReader(home.db) as log:
        for call in same_minute:
            assert log.find_call(call[-12:].upper()) == log.find_call(call) == call
        with pytest.raises(
            LedgerMissing, match=r"begin or end with '422c5cd9': \S*0000422c5cd9, \S*810c422c5cd9; give"
        ):
            log.find_call("422c5cd9")
        with pytest.raises(LedgerMissing, match=r"several calls' .*(\S{36}, ){5}…; give more digits.* ivr top"):
            log.find_call(CALL[:13])
    other = "be82ffd6-be82-7d3f-ab83-a1fd14cfaf06"
    home.append([received(other)])
    with LogReader(home.db) as log:
        assert log.find_call("be82f") == other
        with pytest.raises(LedgerMissing, match="several"):  # one begins so, another ends so
            log.find_call("be82")


def test_a_call_is_read_with_what_is_known_of_persons(home: Home) -> None:
    recorded_call(home)
    with LogReader(home.db) as log:
        (call,) = log.calls()
        assert (call.call, call.outcome, call.recorded, call.events) == (CALL, "completed", True, 6)
        assert call.caller == "sip:+4930123456@example.org"
        assert log.find_call(CALL[:6]) == CALL
        with pytest.raises(LedgerMissing, match="no call"):
            log.find_call("ffff")
        assert log.find_call(CALL[-12:].upper()) == CALL
        with pytest.raises(LedgerMissing, match="no call"):
            log.find_call("%")
    edit(home, "DELETE FROM disclosures")
    with LogReader(home.db) as log:
        first = next(log.events(CALL))
        assert (first.personal, first.erased) == ({}, 2)
        assert log.calls()[0].caller is None


def test_a_step_of_the_wall_clock_is_noticed_once() -> None:
    wall, steady = [0], [0]
    watch = ClockWatch(lambda: wall[0], lambda: steady[0])
    wall[0] = steady[0] = 60 * 10**9
    assert watch.step_us() is None
    wall[0] -= 3600 * 10**9
    assert watch.step_us() == -3600 * 10**6
    assert watch.step_us() is None
    wall[0] += 10**9 // 2
    assert watch.step_us() is None
