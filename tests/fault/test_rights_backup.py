# SPDX-License-Identifier: GPL-3.0-or-later
"""After an erasure a full backup of database and recordings, put back, gives nothing back; and the log still holds."""

import base64
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import replay_kit
from ivr.audit.replay import replay
from ivr.audit.source import LogSource
from ivr.audit.verified import verified_events
from ivr.ledger.ids import uuid7
from ivr.ledger.keys import load_pseudonym_key, load_vkey
from ivr.ledger.log import Entry
from ivr.ledger.query import LogReader
from ivr.ledger.sealed import FieldOpener
from ivr.vault.errors import VaultError
from ivr.vault.open import OpenRecording
from ivr.vault.sealing import load_identities
from rights_kit import NUMBER, Server, make_server
from vault_kit import everything

RECORDING_EVENTS = ("recording.permitted", "recording.started", "recording.stopped")
OTHER = "+441632960123"


def back_up(server: Server, folder: Path) -> None:
    """Database and recordings, as operators back them up: the key stores are apart."""
    data = server.folder / "data"
    shutil.copytree(data, folder, ignore=shutil.ignore_patterns("keystore", "subjects", "*.lock"))


def put_back(server: Server, folder: Path) -> None:
    for path in (server.folder / "data").glob("log.sqlite*"):
        path.unlink()
    shutil.copytree(folder, server.folder / "data", dirs_exist_ok=True)


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return make_server(tmp_path)


def test_a_restored_backup_gives_nothing_back(server: Server, tmp_path: Path) -> None:
    erased, other = server.call(seed=1), server.call(caller=OTHER, seed=3)
    back_up(server, tmp_path / "backup")
    with server.serving():
        done = server.by_officer("erase", "--number", "030 123456", "--json")
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["recordings"] == []  # no region: that spelling is nobody's
        done = server.by_officer("erase", "--number", "+49 (0)30 / 123-456", "--json")
        assert done.exit_code == 0, done.output
    receipt = json.loads(done.stdout)
    assert receipt["recordings"] == [erased.recording]
    assert (receipt["personal_fields"], receipt["secrets_destroyed"]) == (3, 3)
    assert server.findings() == []

    put_back(server, tmp_path / "backup")
    assert server.store.stored(erased.id, erased.recording).segments  # the files are back
    with pytest.raises(VaultError):
        OpenRecording(server.store, erased.id, erased.recording, load_identities(server.officer))
    OpenRecording(server.store, other.id, other.recording, load_identities(server.officer)).audio()
    known = {event.call: event.personal for event in server.events("call.received")}
    assert known[erased.id] == {}
    assert known[other.id] == {"caller": f"sip:{OTHER}@example.org", "dialled": "100", "sip_call_id": "abc"}
    assert server.report().holds
    with server.serving():  # nor is the call found by the number: the person's pseudonym went with their secret
        found = server.ivr("subject", "find", "--number", NUMBER, "--identity", str(server.officer), "--json")
        assert json.loads(found.stdout)["calls"] == []
        found = server.ivr("subject", "find", "--number", OTHER, "--identity", str(server.officer), "--json")
        assert [call["call"] for call in json.loads(found.stdout)["calls"]] == [other.id]


def test_the_log_verifies_and_replays_after_erasure(server: Server) -> None:
    """Every decision can still be derived from what was logged; who took it cannot be said any more."""
    call, recording = uuid7(), uuid7()
    people = {"call.received": {"caller": NUMBER}, "party.joined": {"address": "sip:agent7@example.org"}}
    entries = [
        Entry(one.type, call, {**one.data, **_of_recording(one.type, recording)}, people.get(one.type, {}))
        for one in replay_kit.recorded(call=call).events
    ]
    log = server.open_log()
    log.append(entries, checkpoint=True)
    log.close()
    with server.serving():
        assert server.by_officer("erase", "--call", call).exit_code == 0
    report = server.report()
    assert report.holds
    assert report.erased_fields == 2
    with LogSource(server.settings.storage.database) as source:
        replayed = replay(verified_events(source, load_vkey(server.folder / "keys")))
    assert (replayed.differences, replayed.calls) == ([], 1)
    assert replayed.decisions >= 2


def _of_recording(kind: str, recording: str) -> dict[str, str]:
    return {"recording": recording} if kind in RECORDING_EVENTS else {}


def test_nobodys_number_is_anywhere_in_the_database(server: Server, tmp_path: Path) -> None:
    """Not in clear, not under base64: a copy of the database alone names nobody, erased or not."""
    server.call()
    data = everything(server.folder / "data")
    assert b"30123456" not in data
    for at in range(3):
        assert base64.urlsafe_b64encode(b"x" * at + NUMBER.encode())[4:-4] not in data
    with LogReader(server.settings.storage.database) as log:  # without the key store
        assert [event.personal for event in log.events() if event.type == "call.received"] == [{}]


def test_a_key_store_of_another_key_opens_nothing(server: Server) -> None:
    server.call()
    key = load_pseudonym_key(server.folder / "keys")
    for wrong in (bytes(32), key[::-1]):
        opener = FieldOpener(server.settings.storage.subjects, wrong)
        with LogReader(server.settings.storage.database, opener) as log:
            assert all(not event.personal for event in log.events())
        opener.close()


def test_an_older_key_store_under_a_newer_database_is_no_confusion(server: Server, tmp_path: Path) -> None:
    """Slots are never given twice: a new field's secret must not stand where an old field's was."""
    old = server.call(recorded=False)
    subjects = server.settings.storage.subjects
    shutil.copytree(subjects, tmp_path / "old")
    lost = server.call(recorded=False, caller=OTHER)
    shutil.rmtree(subjects)
    shutil.copytree(tmp_path / "old", subjects)
    new = server.call(recorded=False, caller="+33123456789")
    known = {event.call: event.personal for event in server.events("call.received")}
    assert known[old.id]["caller"] == f"sip:{NUMBER}@example.org"
    assert known[lost.id] == {}
    assert known[new.id]["caller"] == "sip:+33123456789@example.org"
    with server.serving():
        assert server.by_officer("erase", "--call", lost.id).exit_code == 0
    assert {e.call: e.personal for e in server.events("call.received")}[new.id]["dialled"] == "100"


def test_verification_opens_what_it_may_and_needs_no_secret(server: Server, tmp_path: Path) -> None:
    server.call()
    vkey = (server.folder / "keys/ledger.vkey").read_text().strip()
    copy = tmp_path / "copy.sqlite"
    shutil.copy(server.settings.storage.database, copy)
    here = json.loads(server.ivr("log", "verify", "--json").stdout)
    assert (here["holds"], here["sealed_fields"], here["erased_fields"]) == (True, 0, 0)
    there = json.loads(server.ivr("log", "verify", "--db", str(copy), "--vkey", vkey, "--json").stdout)
    assert (there["holds"], there["sealed_fields"], there["erased_fields"]) == (True, 4, 0)
    # A sealed field in another's place is found by whoever can open it.
    with closing(sqlite3.connect(server.settings.storage.database)) as db, db:
        (text,) = db.execute("SELECT text FROM disclosures WHERE name = 'dialled'").fetchone()
        db.execute("UPDATE disclosures SET text = ? WHERE name = 'sip_call_id'", (text,))
    done = server.ivr("log", "verify", "--json")
    assert done.exit_code == 1
    assert [finding["check"] for finding in json.loads(done.stdout)["findings"]] == ["disclosure"]
