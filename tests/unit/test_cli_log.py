# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr log` on a copied database: the verdict is the exit code, and every finding names its place."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ivr.cli.log_commands import command
from ivr.ledger.note import open_checkpoint
from ledger_kit import CALL, RECORDING, Home, joined, make_home, recorded_call


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = make_home(tmp_path)
    recorded_call(made)
    return made


def ivr(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def verify(home: Home, *more: object) -> Result:
    return ivr("verify", "--db", home.db, "--vkey", home.keys / "ledger.vkey", *more)


def test_a_copy_verifies_with_the_public_key_alone(home: Home, tmp_path: Path) -> None:
    alone = tmp_path / "elsewhere"
    alone.mkdir()
    shutil.copy(home.db, alone / "copy.sqlite")
    result = ivr("verify", "--db", alone / "copy.sqlite", "--vkey", str(home.vkey))
    assert result.exit_code == 0, result.output
    assert "HOLDS" in result.output
    assert "8 events of 1 calls" in result.output
    assert [path.name for path in alone.iterdir()] == ["copy.sqlite"]


def test_a_finding_is_told_and_the_exit_code_is_1(home: Home) -> None:
    (segment,) = (home.recordings / CALL / RECORDING).glob("000001-*")
    segment.write_bytes(b"x" + segment.read_bytes()[1:])
    result = verify(home, "--recordings", home.recordings)
    assert result.exit_code == 1
    assert CALL in result.output
    assert segment.name in result.output
    assert "DOES NOT HOLD: 1 finding" in result.output
    (finding,) = json.loads(verify(home, "--recordings", home.recordings, "--json").output)["findings"]
    assert (finding["check"], finding["call"]) == ("segment-changed", CALL)


def test_a_kept_checkpoint_is_compared(home: Home, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text(ivr("checkpoint", "--db", home.db).output)
    assert open_checkpoint(kept.read_text(), home.vkey).size == 8
    home.append([joined()])
    assert verify(home, "--checkpoint", kept).exit_code == 0
    (tmp_path / "x").mkdir()
    shorter = make_home(tmp_path / "x")
    result = ivr("verify", "--db", shorter.db, "--vkey", shorter.keys / "ledger.vkey", "--checkpoint", kept)
    assert (result.exit_code, "checkpoint:" in result.output) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify", "--db", "{db}"],
        ["verify", "--db", "{db}", "--vkey", "nonsense"],
        ["verify", "--db", "{db}", "--vkey", "{key}", "--recordings", "{db}"],
        ["verify", "--db", "{key}", "--vkey", "{key}"],
        ["verify", "--config", "{keys}"],
        ["show", "--db", "{db}", "--call", "ffff"],
        ["show", "--db", "{key}"],
    ],
)
def test_what_cannot_run_ends_with_2(home: Home, arguments: list[str]) -> None:
    places = {"db": home.db, "keys": home.keys, "key": home.keys / "ledger.vkey"}
    result = ivr(*(argument.format(**places) for argument in arguments))
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output


def test_show_prints_a_line_an_event(home: Home) -> None:
    lines = ivr("show", "--db", home.db, "--call", CALL[:8]).output.splitlines()
    assert len(lines) == 6
    assert "call.received" in lines[0]
    assert "+4930123456" in lines[0]
    objects = [json.loads(line) for line in ivr("show", "--db", home.db, "--json").output.splitlines()]
    assert [one["seq"] for one in objects] == list(range(8))
    assert objects[2]["personal"]["dialled"] == "100"
