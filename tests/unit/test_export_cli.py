# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr call export` and `ivr call report`: audio only after a durable event, and the exit code says what came of it."""

import base64
import io
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import soundfile
from click.testing import CliRunner
from pyrage import x25519

from docs_kit import blocks
from export_kit import Played, ledger, played
from ivr.cli import main
from ivr.cli.log import field_opener
from ivr.ledger.log import Entry
from ivr.ledger.people import Role
from ivr.ledger.query import LogReader
from ivr.node.settings import Settings
from ivr.rights.identity import add_person
from ledger_kit import CALL, make_home
from replay_kit import changed, recorded
from vcon_schema import mistakes


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Played:
    return played("withdraw-caller-keep").copy(tmp_path_factory.mktemp("x"))


def accesses(server: Played) -> list[tuple[str, str, str]]:
    """(type, who, why) of everything that was opened."""
    with LogReader(server.database, field_opener(Settings.load(server.folder))) as log:
        events = [e for e in log.events() if e.type in ("recording.accessed", "recording.exported")]
    return [(e.type, str(e.personal["who"]), str(e.data["why"])) for e in events]


def test_a_vcon_on_stdout_needs_no_ledger_and_no_key(server: Played) -> None:
    result = server.ivr("export", server.call[:13], "--format", "vcon")
    assert (result.exit_code, result.stderr) == (0, "")
    assert mistakes(json.loads(result.stdout)) == []
    assert accesses(server) == []


def test_audio_is_opened_after_the_event_that_says_so(server: Played, tmp_path: Path) -> None:
    out = tmp_path / "call.vcon"
    asked = ["export", server.call, "--format", "vcon", "--output", str(out), "--identity", str(server.officer)]
    with ledger(server):
        result = server.ivr(*asked, "--reason", "court order 7")
    assert result.exit_code == 0, result.output
    (dialog,) = json.loads(out.read_bytes())["dialog"]
    audio, _ = soundfile.read(io.BytesIO(base64.urlsafe_b64decode(dialog["body"] + "==")), dtype="int16")
    (one,) = server.facts().recordings
    assert (audio == server.opened(one.id).audio()).all()
    assert accesses(server) == [("recording.exported", "officer", "court order 7")]
    assert out.stat().st_mode & 0o777 == 0o600


def test_without_a_ledger_there_is_no_audio(server: Played, tmp_path: Path) -> None:
    out = tmp_path / "call.vcon"
    for command in (["export", server.call, "--format", "vcon"], ["report", server.call]):
        options = ["--output", str(out), "--identity", str(server.officer), "--reason", "x"]
        result = server.ivr(*command, *options)
        assert result.exit_code == 2, command
        assert "ledger does not answer" in result.stderr
        assert not out.exists()
    assert accesses(server) == []


def test_only_an_officer_opens_audio(server: Played, tmp_path: Path) -> None:
    auditor, nobody = tmp_path / "auditor.age", tmp_path / "nobody.age"
    add_person(server.folder / "keys" / "people.txt", "ann", Role.AUDITOR, auditor)
    nobody.write_text(f"{x25519.Identity.generate()}\n")
    nobody.chmod(0o600)
    with ledger(server):
        for identity, said in ((auditor, "only officer may"), (nobody, "belongs to nobody")):
            asked = ["report", server.call, "--output", str(tmp_path / "r"), "--identity", str(identity)]
            result = server.ivr(*asked, "--reason", "x")
            assert result.exit_code == 2
            assert said in result.stderr
    assert accesses(server) == []
    assert not (tmp_path / "r").exists()


def test_a_reason_is_not_optional(server: Played, tmp_path: Path) -> None:
    for reason in ([], ["--reason", "  "]):
        asked = ["report", server.call, "--output", str(tmp_path / "r"), "--identity", str(server.officer), *reason]
        result = server.ivr(*asked)
        assert (result.exit_code, "--reason" in result.stderr) == (2, True)


def test_a_report_with_the_sound_in_it(server: Played, tmp_path: Path) -> None:
    plain, drawn = tmp_path / "plain.html", tmp_path / "drawn.html"
    assert server.ivr("report", server.call, "--output", str(plain)).exit_code == 0
    with ledger(server):
        asked = ["report", server.call, "--output", str(drawn), "--identity", str(server.officer)]
        result = server.ivr(*asked, "--reason", "complaint")
    assert result.exit_code == 0, result.output
    assert [kind for kind, _, _ in accesses(server)] == ["recording.accessed"]
    again = tmp_path / "again.html"
    assert server.ivr("report", server.call, "--output", str(again)).exit_code == 0
    assert "opened a recording: complaint" in again.read_text()
    assert "The sound itself is not drawn" in plain.read_text()
    assert "The sound itself is not drawn" not in drawn.read_text()
    assert 'class="f-kept"' in drawn.read_text()


def test_nothing_is_overwritten_unasked(server: Played, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    out.write_text("mine")
    assert server.ivr("report", server.call, "--output", str(out)).exit_code == 2
    assert out.read_text() == "mine"
    assert server.ivr("report", server.call, "--output", str(out), "--force").exit_code == 0


def test_a_copy_of_the_database_and_a_key_are_enough(server: Played, tmp_path: Path) -> None:
    copied = tmp_path / "log.sqlite"
    with closing(sqlite3.connect(server.database)) as source, closing(sqlite3.connect(copied)) as target:
        source.backup(target)
    options = ["--db", str(copied), "--vkey", str(server.vkey)]
    result = server.ivr("export", server.call, "--format", "vcon", *options)
    assert result.exit_code == 0, result.output
    without = server.ivr("export", server.call, "--format", "vcon", "--db", str(copied))
    assert (without.exit_code, "--vkey" in without.stderr) == (2, True)


def test_a_log_that_was_changed_is_not_exported(server: Played, tmp_path: Path) -> None:
    call = server.call
    with closing(sqlite3.connect(server.database)) as db, db:
        db.execute("PRAGMA foreign_keys=OFF")
        (jws,) = db.execute("SELECT jws FROM events WHERE type = 'consent.decided'").fetchone()
        head, _, signature = jws.rpartition(".")
        swapped = f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
        db.execute("UPDATE events SET jws = ? WHERE type = 'consent.decided'", [swapped])
    out = tmp_path / "r"
    for command in (["export", call, "--format", "vcon"], ["report", call, "--output", str(out)]):
        result = server.ivr(*command)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "ivr log verify" in result.stderr
    assert not out.exists()


def test_a_tree_that_was_changed_gives_no_receipt(server: Played) -> None:
    with closing(sqlite3.connect(server.database)) as db, db:
        db.execute("UPDATE events SET leaf = zeroblob(32) WHERE seq = 2")
    result = server.ivr("export", server.call, "--format", "vcon")
    assert result.exit_code == 1
    assert "ivr log verify" in result.stderr


def test_dpv_with_what_no_flow_says(server: Played) -> None:
    options = ["--address", "Musterweg 1", "--contact", "privacy@example.org", "--jurisdiction", "DE"]
    result = server.ivr("export", server.call, "--format", "dpv", *options)
    assert result.exit_code == 0, result.output
    (record,) = json.loads(result.stdout)["@graph"]
    assert record["dpv:hasJurisdiction"] == {"@id": "loc:DE"}
    assert record["dpv:hasDataController"]["dpv:hasAddress"] == "Musterweg 1"
    assert record["dpv:hasDataController"]["dpv:hasContact"] == "privacy@example.org"


def test_decisions_that_do_not_follow_are_not_passed_on(tmp_path: Path) -> None:
    """A signed lie: the log verifies, replay does not. A program gets nothing; a person gets a report that says so."""
    home = make_home(tmp_path)
    events = changed(recorded(call=CALL).events, "consent.decided", decision="granted")
    home.append([Entry(event.type, event.call, event.data) for event in events])
    out = tmp_path / "r.html"
    of_log = ["--db", str(home.db), "--vkey", str(home.vkey)]
    run = CliRunner()
    for form in ("vcon", "dpv"):
        result = run.invoke(main, ["call", "export", CALL, "--format", form, *of_log])
        assert (result.exit_code, result.stdout) == (1, "")
        assert "decision-changed" in result.stderr
    result = run.invoke(main, ["call", "report", CALL, "--output", str(out), *of_log])
    assert result.exit_code == 1
    assert "✗ does not hold" in out.read_text()


def test_the_hash_is_checked_as_the_document_says(server: Played, tmp_path: Path) -> None:
    (by_hand,) = [block for block in blocks("python") if block.page.name == "exports.md"]
    out = tmp_path / "call.vcon"
    assert server.ivr("export", server.call, "--format", "vcon", "--output", str(out)).exit_code == 0

    def run() -> str:
        done = [sys.executable, "-c", by_hand.text]
        return subprocess.run(done, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True).stdout

    assert run() == "True\n"
    out.write_text(out.read_text().replace('"granted": true', '"granted": false', 1))
    assert run() == "False\n"
