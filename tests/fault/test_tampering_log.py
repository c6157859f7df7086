# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody who holds the database and the files but not the key changes something: verify finds it and says where."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ivr.audit.findings import Check, Finding
from ivr.ledger.canonical import b64url, unb64url
from ivr.ledger.event import Event, jws_hash, sign
from ivr.ledger.ids import uuid7
from ivr.ledger.log import Entry
from ivr.ledger.query import LogReader
from ivr.ledger.tree import leaf_hash
from ledger_kit import (
    CALL,
    RECORDING,
    Home,
    joined,
    make_home,
    permitted,
    received,
    recorded_call,
    started,
    stopped,
    write_segments,
)

FOLDER = f"{CALL}/{RECORDING}"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A log of a recorded call, and two checkpoints: of its creation and of its end."""
    made = make_home(tmp_path)
    recorded_call(made)
    assert made.verify(files=True) == []
    return made


def edit(home: Home, *statements: str) -> None:
    for statement in statements:
        home.run(statement)


def jws(home: Home, seq: int) -> str:
    return str(home.run("SELECT jws FROM events WHERE seq = ?", seq)[0][0])


def put(home: Home, seq: int, text: str) -> None:
    """Replace the event and keep everything beside it consistent, as a careful forger would."""
    home.run("UPDATE events SET jws = ?, leaf = ? WHERE seq = ?", text, leaf_hash(text.encode()), seq)


def newest_checkpoint(home: Home) -> str:
    return str(home.run("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1")[0][0])


def found(findings: list[Finding], check: Check, event: int | None = None, place: str | None = None) -> Finding:
    matching = [f for f in findings if f.check is check and f.event == event and (place is None or f.place == place)]
    assert matching, "\n".join(map(str, findings)) or "nothing was found"
    return matching[0]


@pytest.mark.parametrize("seq", range(8))
def test_a_changed_byte_in_any_event(home: Home, seq: int) -> None:
    header, payload, signature = jws(home, seq).split(".")
    raw = bytearray(unb64url(payload.encode()))
    place = raw.index(b'"time":"20') + 10
    raw[place] ^= 1
    put(home, seq, f"{header}.{b64url(bytes(raw)).decode()}.{signature}")
    findings = home.verify()
    found(findings, Check.EVENT, seq)
    found(findings, Check.TREE, None, "checkpoint 2" if seq < 2 else "checkpoint 8")
    if seq < 7:
        found(findings, Check.CHAIN, seq + 1)


def test_the_finding_names_the_call(home: Home) -> None:
    put(home, 4, jws(home, 4)[:-4] + "AAAA")
    assert found(home.verify(), Check.EVENT, 4).call == CALL


def test_a_dropped_event(home: Home) -> None:
    edit(home, "DELETE FROM disclosures WHERE seq = 4", "DELETE FROM events WHERE seq = 4")
    findings = home.verify()
    assert "event 4 is missing" in found(findings, Check.ORDER, 5).message
    found(findings, Check.CHAIN, 5)
    found(findings, Check.CUT, None, "checkpoint 8")


def test_a_dropped_event_with_the_rest_moved_up(home: Home) -> None:
    edit(
        home,
        "DELETE FROM disclosures",
        "DELETE FROM pseudonyms",
        "DELETE FROM events WHERE seq = 4",
        "UPDATE events SET seq = seq - 1 WHERE seq > 4",
    )
    findings = home.verify()
    assert "was signed as event 5" in found(findings, Check.ORDER, 4).message
    found(findings, Check.CHAIN, 4)
    found(findings, Check.CUT, None, "checkpoint 8")


def test_two_swapped_events(home: Home) -> None:
    first, second = jws(home, 4), jws(home, 5)
    put(home, 4, second)
    put(home, 5, first)
    findings = home.verify()
    assert "was signed as event 5" in found(findings, Check.ORDER, 4).message
    assert "was signed as event 4" in found(findings, Check.ORDER, 5).message
    found(findings, Check.CHAIN, 6)
    found(findings, Check.TREE, None, "checkpoint 8")


def test_an_inserted_copy_of_an_event(home: Home) -> None:
    columns = "call, recording, type, time, jws, leaf"
    edit(home, f"INSERT INTO events (seq, id, {columns}) SELECT 8, 'another', {columns} FROM events WHERE seq = 4")
    findings = home.verify()
    assert "was signed as event 4" in found(findings, Check.ORDER, 8).message
    found(findings, Check.CHAIN, 8)


def test_an_inserted_event_signed_with_another_key(home: Home, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = make_home(tmp_path / "other")
    recorded_call(other)
    put(home, 5, jws(other, 5))
    found(home.verify(), Check.EVENT, 5)


def test_a_cut_tail_against_the_newest_stored_checkpoint(home: Home) -> None:
    edit(home, "DELETE FROM events WHERE seq >= 6")
    finding = found(home.verify(), Check.CUT, None, "checkpoint 8")
    assert "2 fewer" in finding.message


def test_a_cut_tail_against_a_checkpoint_kept_outside(home: Home) -> None:
    kept = newest_checkpoint(home)
    edit(home, "DELETE FROM events WHERE seq >= 6", "DELETE FROM checkpoints WHERE size > 2")
    assert home.verify() == []
    found(home.verify(kept), Check.CUT, None, "kept 0")


def test_a_kept_checkpoint_of_a_longer_log_that_was_rewritten(home: Home, tmp_path: Path) -> None:
    """The holder of the key writes the history anew: only who kept a checkpoint can tell."""
    kept = newest_checkpoint(home)
    edit(home, "DELETE FROM events WHERE seq >= 7", "DELETE FROM checkpoints WHERE size > 2")
    home.append([joined(at_ms=7), joined(at_ms=8)])
    assert home.verify() == []
    found(home.verify(kept), Check.TREE, None, "kept 0")


def test_a_kept_checkpoint_of_an_honest_log_holds(home: Home) -> None:
    kept = newest_checkpoint(home)
    home.append([joined(), joined()])
    assert home.verify(kept) == []


def test_a_kept_checkpoint_that_is_forged(home: Home) -> None:
    found(home.verify(newest_checkpoint(home).replace("\n8\n", "\n7\n")), Check.CHECKPOINT, None, "kept 0")


@pytest.mark.parametrize(
    ("statement", "check"),
    [
        ("UPDATE checkpoints SET note = replace(note, 'consent', 'content') WHERE size = 8", Check.CHECKPOINT),
        ("UPDATE checkpoints SET root = zeros WHERE size = 8", Check.CHECKPOINT),
        ("UPDATE checkpoints SET size = 7 WHERE size = 8", Check.CHECKPOINT),
        ("DELETE FROM checkpoints", Check.CHECKPOINT),
    ],
)
def test_a_changed_checkpoint(home: Home, statement: str, check: Check) -> None:
    edit(home, statement)
    assert check in {f.check for f in home.verify()}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", "'01a1ffd6-be82-7d3f-ab83-000000000000'"),
        ("call", "NULL"),
        ("type", "'consent.decided'"),
        ("time", "'2020-01-01T00:00:00.000000Z'"),
        ("recording", "'x'"),
        ("leaf", "zeros"),
    ],
)
def test_a_changed_column_beside_the_event(home: Home, column: str, value: str) -> None:
    edit(home, f"UPDATE events SET {column} = {value} WHERE seq = 3")
    found(home.verify(), Check.INDEX, 3, f"column {column}")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE disclosures SET text = (SELECT text FROM disclosures WHERE name = 'dialled') WHERE name = 'caller'",
        "UPDATE disclosures SET text = 'WyJzIiwiY2FsbGVyIiwieCJd' WHERE name = 'caller'",
        "UPDATE disclosures SET text = 'nonsense' WHERE name = 'caller'",
        "UPDATE disclosures SET name = 'agent' WHERE name = 'caller'",
        "UPDATE disclosures SET digest = 'x' WHERE name = 'caller'",
    ],
)
def test_an_altered_disclosure(home: Home, statement: str) -> None:
    edit(home, statement)
    finding = found(home.verify(), Check.DISCLOSURE, 2)
    assert finding.place


def test_a_disclosure_moved_to_another_event(home: Home) -> None:
    edit(home, "UPDATE disclosures SET seq = 5 WHERE name = 'caller'")
    found(home.verify(), Check.DISCLOSURE, 5)
    edit(home, "UPDATE disclosures SET seq = 99 WHERE name = 'caller'")
    found(home.verify(), Check.DISCLOSURE, 99, "caller")


def test_erased_disclosures_are_no_finding(home: Home) -> None:
    edit(home, "DELETE FROM disclosures")
    assert home.verify() == []
    assert home.report().erased_fields == 3


def forge(home: Home, **changed: Any) -> None:
    """Append an event that is properly signed, but wrong: what a faulty ledger would write."""
    key, last = home.key, home.report().events - 1
    prev = jws_hash(jws(home, last).encode())
    event = Event(key.vkey.name, last + 1, prev, uuid7(), "2199-01-01T00:00:00.000000Z", CALL, "party.left", {})
    one = sign(replace(event, **changed), {}, key.kid, key.sign)
    row = (one.event.seq, one.event.id, CALL, one.event.data.get("recording"), one.event.type, one.event.time, one.jws)
    home.run("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *row, leaf_hash(one.jws.encode()))


def test_an_event_signed_for_a_time_before_the_last(home: Home) -> None:
    forge(home)
    assert home.verify() == []
    forge(home, time="2020-01-01T00:00:00.000000Z")
    found(home.verify(), Check.TIME, 9)


def test_an_event_signed_for_another_log_with_the_same_key(home: Home) -> None:
    forge(home, log="example.org/other")
    found(home.verify(), Check.EVENT, 8)


def test_a_chain_that_the_key_itself_signed_wrong(home: Home) -> None:
    forge(home, prev="A" * 43)
    found(home.verify(), Check.CHAIN, 8)


def account(home: Home, **changed: Any) -> list[Finding]:
    """A second account of the recording."""
    home.append([replace(stopped([]), data={**stopped([]).data, **changed})])
    return home.verify(files=True)


def test_a_segment_that_is_logged_twice(home: Home) -> None:
    with LogReader(home.db) as log:
        facts = next(e for e in log.events() if e.type == "recording.stopped").data["segments"]
    found(account(home, segments=facts[:1], samples=48000), Check.RECORDING, 8)


def test_samples_that_are_not_those_of_the_segments(home: Home) -> None:
    assert "segments hold 48000" in found(account(home, samples=48001), Check.RECORDING, 8).message


def test_segments_of_a_recording_that_never_started(home: Home) -> None:
    found(account(home, recording=uuid7()), Check.RECORDING, 8)


def test_facts_of_a_segment_that_are_incomplete(home: Home) -> None:
    found(account(home, segments=[{"n": 9}], samples=48000), Check.RECORDING, 8)


def test_files_of_an_erased_recording(home: Home) -> None:
    data: dict[str, Any] = {"at_ms": 9001, "recording": RECORDING, "reason": "request", "segments": 3}
    home.append([Entry("recording.erased", CALL, data)])
    findings = home.verify(files=True)
    assert {f.check for f in findings} == {Check.NOT_ERASED}
    assert len(findings) == 3
    for path in (home.recordings / FOLDER).iterdir():
        path.unlink()
    assert home.verify(files=True) == []


def test_a_recording_that_runs_has_files_and_nothing_else(tmp_path: Path) -> None:
    running = make_home(tmp_path)
    write_segments(running)
    running.append([received(), permitted(), started()])
    assert running.verify(files=True) == []
    (running.recordings / FOLDER / "stray.wav").write_bytes(b"x")
    found(running.verify(files=True), Check.STRAY_FILE, 4, f"{FOLDER}/stray.wav")


def segment(n: int) -> str:
    return f"{n:06d}-{n * 16000:012d}-000000016000.flac.age"


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("change", "check", "place"),
    [
        (lambda f: flip(f / segment(1)), Check.SEGMENT_CHANGED, segment(1)),
        (lambda f: (f / segment(1)).write_bytes(b""), Check.SEGMENT_CHANGED, segment(1)),
        (lambda f: (f / segment(2)).unlink(), Check.SEGMENT_MISSING, segment(2)),
        (lambda f: (f / segment(3)).write_bytes(b"more"), Check.STRAY_FILE, segment(3)),
        (lambda f: (f / "note.txt").write_bytes(b"hello"), Check.STRAY_FILE, "note.txt"),
        (lambda f: (f / ".hidden").write_bytes(b"hello"), Check.STRAY_FILE, ".hidden"),
        (lambda f: (f / segment(1)).rename(f / segment(4)), Check.SEGMENT_MISSING, segment(1)),
    ],
)
def test_a_changed_recording(home: Home, change: Callable[[Path], object], check: Check, place: str) -> None:
    change(home.recordings / FOLDER)
    finding = found(home.verify(files=True), check, 6, f"{FOLDER}/{place}")
    assert finding.call == CALL


def test_two_segments_that_changed_names(home: Home) -> None:
    folder = home.recordings / FOLDER
    (folder / segment(0)).rename(folder / "x")
    (folder / segment(1)).rename(folder / segment(0))
    (folder / "x").rename(folder / segment(1))
    findings = home.verify(files=True)
    found(findings, Check.SEGMENT_CHANGED, 6, f"{FOLDER}/{segment(0)}")
    found(findings, Check.SEGMENT_CHANGED, 6, f"{FOLDER}/{segment(1)}")


@pytest.mark.parametrize(
    "name", ["stray.wav", f"{CALL}/stray.wav", f"{CALL}/x/{segment(0)}", f"x/{RECORDING}/{segment(0)}"]
)
def test_a_stray_file_anywhere(home: Home, name: str) -> None:
    path = home.recordings / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    found(home.verify(files=True), Check.STRAY_FILE, None, name)


def test_a_link_in_place_of_a_segment(home: Home, tmp_path: Path) -> None:
    path = home.recordings / FOLDER / segment(0)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    found(home.verify(files=True), Check.STRAY_FILE, None, f"{FOLDER}/{segment(0)}")


def test_the_whole_recording_removed(home: Home) -> None:
    for path in (home.recordings / FOLDER).iterdir():
        path.unlink()
    missing = [f for f in home.verify(files=True) if f.check is Check.SEGMENT_MISSING]
    assert len(missing) == 3
