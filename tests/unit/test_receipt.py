# SPDX-License-Identifier: GPL-3.0-or-later
"""Receipts: they show what they say with the key alone, and nothing when a byte of them is changed."""

import base64
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ivr.audit.receipt import Receipt, ReceiptError, check_receipt, make_receipt
from ivr.audit.source import EventRow, LogSource
from ivr.cli.log_commands import command
from ivr.ledger.keyring import KeyRing
from ivr.ledger.note import VKey
from ivr.ledger.rotate import rotate
from ivr.ledger.tree import leaf_hash
from ledger_kit import CALL, Home, joined, make_home, recorded_call
from proof_kit import edit, seal

VECTOR = (Path(__file__).parents[1] / "data" / "tlog_vector.txt").read_text("utf-8")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = make_home(tmp_path)
    recorded_call(made)
    return made


def row(home: Home, seq: int) -> EventRow:
    with LogSource(home.db) as source:
        found = source.event(str(seq))
    assert found is not None
    return found


def receipt(home: Home, seq: int) -> Receipt:
    with LogSource(home.db) as source:
        newest = source.newest_checkpoint()
        assert newest is not None
        return make_receipt(source, row(home, seq), newest)


def ivr(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_the_worked_example() -> None:
    lines = VECTOR.splitlines(keepends=True)
    key = VKey.parse(next(line for line in lines if line.startswith("vkey ")).removeprefix("vkey "))
    text = "".join(lines[lines.index("c2sp.org/tlog-proof@v1\n") :])
    parsed = Receipt.parse(text)
    assert parsed.text() == text
    checked = check_receipt(parsed, [key], b"event 5")
    assert (checked.index, checked.checkpoint.size, checked.event) == (5, 7, None)
    with pytest.raises(ReceiptError, match="does not hold the event"):
        check_receipt(parsed, [key])
    with pytest.raises(ReceiptError, match="is not number 5"):
        check_receipt(parsed, [key], b"event 4")


def test_every_event_of_a_log(home: Home) -> None:
    home.append([joined(at_ms=n) for n in range(300)])
    for seq in (0, 1, 7, 8, 255, 256, 307):
        text = receipt(home, seq).text()
        checked = check_receipt(Receipt.parse(text), [home.vkey])
        assert checked.signed
        assert checked.event is not None
        assert (checked.index, checked.event.seq, checked.checkpoint.size) == (seq, seq, 308)
        assert check_receipt(Receipt.parse(text), [home.vkey], row(home, seq).jws.encode()) == checked


def test_no_byte_of_it_can_be_changed(home: Home) -> None:
    """The extra line may be left out, then the event is given; a changed one is noticed."""
    text = receipt(home, 5).text()
    for at in range(len(text)):
        changed = text[:at] + ("B" if text[at] == "A" else "A") + text[at + 1 :]
        with pytest.raises(ReceiptError):
            check_receipt(Receipt.parse(changed), [home.vkey])


def test_of_another_log_or_key(home: Home, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = make_home(tmp_path / "other")
    with pytest.raises(ReceiptError, match="not signed by"):
        check_receipt(receipt(home, 5), [other.vkey])
    with pytest.raises(ReceiptError, match="no key"):
        check_receipt(receipt(home, 5), [])


def test_an_event_that_says_another_place_is_refused(home: Home) -> None:
    """Somebody with the key put a copy of an event in another place of the tree: the event itself tells."""
    fourth = row(home, 4).jws
    with closing(sqlite3.connect(home.db)) as db, db:
        db.execute("UPDATE events SET jws = ?, leaf = ? WHERE seq = 5", (fourth, leaf_hash(fourth.encode())))
    seal(home, home.key)
    with pytest.raises(ReceiptError, match="signed as number 4"):
        check_receipt(receipt(home, 5), [home.vkey])


def test_none_is_made_for_what_no_checkpoint_covers(home: Home) -> None:
    home.append([joined()], checkpoint=False)
    with pytest.raises(ReceiptError, match="not covered"):
        receipt(home, 8)


@pytest.mark.parametrize("change", ["UPDATE events SET leaf = zeroblob(32)", "DELETE FROM events"])
def test_none_is_made_that_would_not_check(home: Home, change: str) -> None:
    fifth = row(home, 5)
    edit(home, f"{change} WHERE seq = 6")
    with LogSource(home.db) as source:
        newest = source.newest_checkpoint()
        assert newest is not None
        with pytest.raises(ReceiptError, match="ivr log verify"):
            make_receipt(source, fifth, newest)


def test_after_a_rotation_the_tree_vouches_for_earlier_events(home: Home) -> None:
    rotate(home.db, home.keys)
    first, second = KeyRing.read(home.keys / "ledger.vkey").keys
    home.append([joined()])
    checked = check_receipt(receipt(home, 5), [second])
    assert (checked.signed, checked.event and checked.event.type) == (False, "recording.started")
    assert check_receipt(receipt(home, 5), [first, second]).signed
    with pytest.raises(ReceiptError, match="not signed by"):
        check_receipt(receipt(home, 5), [first])


def test_what_is_no_receipt() -> None:
    hashes = base64.b64encode(bytes(32)).decode()
    good = f"c2sp.org/tlog-proof@v1\nindex 1\n{hashes}\n\nnote"
    assert Receipt.parse(good).index == 1
    for wrong in (
        "",
        good.replace("@v1", "@v2"),
        good.replace("\n\n", "\n"),
        good.replace("index 1", "index 01"),
        good.replace("index 1", "index -1"),
        good.replace("index 1\n", ""),
        good.replace(hashes, "AAAA"),
        good.replace(hashes, "!"),
        good.replace(hashes, "\n".join([hashes] * 64)),
        good.replace("index", "extra !\nindex"),
    ):
        with pytest.raises(ReceiptError):
            Receipt.parse(wrong)


def test_the_commands(home: Home, tmp_path: Path) -> None:
    file, key = tmp_path / "event.tlog-proof", home.keys / "ledger.vkey"
    assert ivr("receipt", "2", "--db", home.db, "-o", file).exit_code == 0
    assert ivr("receipt", row(home, 2).id, "--db", home.db).output == file.read_text()
    result = ivr("check-receipt", file, "--vkey", key)
    assert result.exit_code == 0, result.output
    assert f"call.received, call {CALL}" in result.output
    presentation = tmp_path / "event.sd-jwt"
    presentation.write_text(row(home, 2).jws + "~WyJh~\n")
    assert ivr("check-receipt", file, "--vkey", str(home.vkey), "--event", presentation).exit_code == 0
    result = ivr("check-receipt", file, "--vkey", key, "--event", row(home, 3).jws)
    assert (result.exit_code, "DOES NOT HOLD" in result.output) == (1, True)
    assert ivr("receipt", "99", "--db", home.db).exit_code == 2
    assert ivr("check-receipt", file, "--vkey", "nonsense").exit_code == 2
