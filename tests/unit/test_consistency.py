# SPDX-License-Identifier: GPL-3.0-or-later
"""Does today's log extend a kept checkpoint? Proved for an honest log; shown not to for one cut or rewritten."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ivr.audit.consistency import Extension, Inconsistent, prove_extension
from ivr.audit.source import LogSource
from ivr.cli.log_commands import command
from ivr.ledger.note import Checkpoint, note_text
from ivr.ledger.proofs import ProofError
from ivr.ledger.rotate import rotate
from ledger_kit import Home, joined, make_home, recorded_call
from proof_kit import cut, edit, newest


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = make_home(tmp_path)
    recorded_call(made)
    return made


@pytest.fixture
def kept(home: Home, tmp_path: Path) -> Path:
    """The checkpoint of eight events, kept outside."""
    file = tmp_path / "kept"
    file.write_text(newest(home))
    return file


def checkpoint(file: Path) -> Checkpoint:
    return Checkpoint.parse(note_text(file.read_text()))


def ivr(home: Home, kept: Path, *more: str) -> Result:
    return CliRunner().invoke(
        command, ["consistency", str(kept), "--db", str(home.db), "--vkey", str(home.keys / "ledger.vkey"), *more]
    )


def test_an_honest_log(home: Home, kept: Path) -> None:
    home.append([joined(at_ms=n) for n in range(300)])
    with LogSource(home.db) as source:
        found = prove_extension(source, checkpoint(kept))
    assert (found.old, len(found.proof) > 0) == (8, True)
    assert Extension.parse(found.text()) == found
    assert found.check(checkpoint(kept)).size == 308
    assert ivr(home, kept).stdout == found.text()


def test_the_same_size_needs_no_hashes(home: Home, kept: Path) -> None:
    with LogSource(home.db) as source:
        assert prove_extension(source, checkpoint(kept)).proof == ()
    assert ivr(home, kept).exit_code == 0


def test_a_log_whose_end_was_cut(home: Home, kept: Path) -> None:
    cut(home, 6)
    result = ivr(home, kept)
    assert (result.exit_code, "its end was cut off" in result.stderr) == (1, True)


@pytest.mark.parametrize("events", [2, 7])
def test_a_history_that_was_signed_anew(home: Home, kept: Path, events: int) -> None:
    """Somebody with the key: every signature holds, and the kept checkpoint shows it all the same."""
    cut(home, events)
    home.append([joined(at_ms=n) for n in range(20)])
    assert home.verify() == []
    result = ivr(home, kept)
    assert (result.exit_code, "not those that the kept checkpoint was made of" in result.stderr) == (1, True)
    verdict = json.loads(ivr(home, kept, "--json").stdout)
    assert verdict["holds"] is False


def test_after_a_rotation(home: Home, kept: Path) -> None:
    key = str(home.vkey)
    rotate(home.db, home.keys)
    home.append([joined()])
    arguments = ["consistency", str(kept), "--db", str(home.db), "--vkey", key, "--json"]
    result = CliRunner().invoke(command, arguments)
    assert json.loads(result.stdout) | {"root": ""} == {"holds": True, "old": 8, "size": 11, "root": ""}


def test_a_kept_checkpoint_that_the_key_did_not_sign(home: Home, kept: Path) -> None:
    kept.write_text(kept.read_text().replace("\n8\n", "\n7\n"))
    assert ivr(home, kept).exit_code == 2


def test_a_newest_checkpoint_that_the_key_did_not_sign(home: Home, kept: Path, tmp_path: Path) -> None:
    edit(home, "UPDATE checkpoints SET note = replace(note, 'Q', 'R') WHERE size = 8")
    result = ivr(home, kept)
    assert result.exit_code == 1


def test_a_proof_of_something_else(home: Home, kept: Path) -> None:
    home.append([joined(at_ms=n) for n in range(30)])
    with LogSource(home.db) as source:
        found = prove_extension(source, checkpoint(kept))
    old = checkpoint(kept)
    for wrong in (
        Extension(8, found.proof[:-1], found.note),
        Extension(8, found.proof, kept.read_text()),
        Extension(7, found.proof, found.note),
        Extension(8, found.proof, found.note.replace("example.org", "example.net")),
    ):
        with pytest.raises(Inconsistent):
            wrong.check(old)
    for text in ("", "old 8\n", found.text().replace("old 8", "old 08"), found.text().replace("old 8\n", "old 8\n!\n")):
        with pytest.raises(ProofError):
            Extension.parse(text)
