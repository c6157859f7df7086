# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr log replay` on real, signed logs: the verdict is the exit code, and nothing unverified is replayed."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from click.testing import CliRunner, Result

from ivr.cli import main
from ivr.ledger.log import Entry
from ledger_kit import CALL, Home, make_home
from replay_kit import Logged, changed, recorded


def logged(path: Path, events: Sequence[Logged]) -> Home:
    """A signed log of these events, after the two that begin every log."""
    home = make_home(path)
    home.append([Entry(event.type, event.call, event.data) for event in events])
    return home


def run(home: Home, *options: str) -> Result:
    return CliRunner().invoke(main, ["log", "replay", "--db", str(home.db), "--vkey", str(home.vkey), *options])


def test_an_honest_log_replays(tmp_path: Path) -> None:
    result = run(logged(tmp_path, recorded(call=CALL).events))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "REPLAYS. 11 inputs of 1 calls give 2 logged decisions\n"


def test_a_signed_lie_is_found_and_named(tmp_path: Path) -> None:
    events = changed(recorded(call=CALL).events, "consent.decided", decision="granted")
    result = run(logged(tmp_path, events))
    assert result.exit_code == 1
    first, last = result.stdout.splitlines()
    assert first.startswith("decision-changed: event 8, call " + CALL)
    assert "decision=not_objected" in first
    assert last.startswith("DIFFERS: 1 differences.")


def test_for_programs(tmp_path: Path) -> None:
    events = changed(recorded(call=CALL).events, "consent.decided", decision="granted")
    result = run(logged(tmp_path, events), "--json")
    value = json.loads(result.stdout)
    assert (result.exit_code, value["holds"], value["calls"], value["open_calls"]) == (1, False, 1, 0)
    assert value["differences"][0]["call"] == CALL


def broken(home: Home, statement: str) -> Result:
    with closing(sqlite3.connect(home.db)) as db, db:
        db.execute("PRAGMA foreign_keys=OFF")
        db.execute(statement)
    return run(home)


def test_nothing_unverified_is_replayed(tmp_path: Path) -> None:
    """A byte changed, an event dropped, two swapped: replay stops there and says what to run."""
    breaks = {
        "changed": "UPDATE events SET jws = replace(jws, '.', 'A.') WHERE seq = 5",
        "dropped": "DELETE FROM events WHERE seq = 5",
        "moved": "UPDATE events SET seq = 99 WHERE seq = 5",
    }
    for name, statement in breaks.items():
        (tmp_path / name).mkdir()
        result = broken(logged(tmp_path / name, recorded(call=CALL).events), statement)
        assert result.exit_code == 1, name
        assert result.stdout.startswith("unverified: event"), name
        assert "ivr log verify" in result.stdout


def test_unverified_for_programs(tmp_path: Path) -> None:
    home = logged(tmp_path, recorded(call=CALL).events)
    broken(home, "DELETE FROM events WHERE seq = 5")
    result = run(home, "--json")
    assert (result.exit_code, json.loads(result.stdout)["holds"]) == (1, False)


def test_a_copied_database_needs_the_key_that_was_given(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    result = CliRunner().invoke(main, ["log", "replay", "--db", str(home.db)])
    assert result.exit_code == 2
    assert "--vkey" in result.stderr


def test_a_log_of_another_key_is_not_believed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    home, other = logged(tmp_path / "a", []), make_home(tmp_path / "b")
    arguments = ["log", "replay", "--db", str(home.db), "--vkey", str(other.vkey)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert result.stdout.startswith("unverified: event 0")
