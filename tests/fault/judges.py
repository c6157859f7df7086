# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold after any fault: it starts again, the auditor's verifier finds nothing, promises were kept."""

import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fault.workloads import SECONDS
from ivr.audit.source import LogSource
from ivr.audit.verify import verify_log
from ivr.ledger.event import parse_disclosure
from ivr.ledger.ids import uuid7
from ivr.ledger.keeping import PersonalSettings
from ivr.ledger.keys import load_ledger_key, load_pseudonym_key, load_vkey
from ivr.ledger.log import Entry, Log
from ivr.ledger.note import VKey
from ivr.ledger.personal import Erasing
from ivr.ledger.sealed import FieldOpener
from ivr.node.initialise import OFFICER, InitError, initialise
from ivr.node.settings import Settings
from ivr.vault.durable import is_leftover
from ivr.vault.errors import NotFound
from ivr.vault.open import OpenRecording
from ivr.vault.sealing import load_identities, load_recipients
from ivr.vault.store import RecordingStore
from ledger_kit import Home, joined, make_home, received
from vault_kit import RATE, noise, vault

Said = Sequence[dict[str, Any]]


def make_ledger(folder: Path) -> None:
    """A new log."""
    folder.mkdir()
    make_home(folder)


def judge_ledger(folder: Path, said: Said, killed: bool) -> None:
    """It starts again, continues, verifies; every acknowledged event is where the acknowledgement said."""
    home = Home(folder)
    before = _stored(home)
    home.append([joined()], checkpoint=True)
    findings = home.verify()
    assert findings == [], "\n".join(map(str, findings))
    stored = _stored(home)
    acked = {one["acked"]: one["seq"] for one in said if "acked" in one}
    lost = {event: seq for event, seq in acked.items() if stored.get(event) != seq}
    assert not lost, f"acknowledged and lost: {lost} of {len(acked)}; {len(before)} before the restart"
    # A write error is a class of its own: after the first, nothing is acknowledged and everything that waits is told.
    refusals = [n for n, one in enumerate(said) if "refused" in one]
    if refusals:
        assert all(one["unavailable"] for one in said if "refused" in one), said
        assert not [one for one in said[refusals[0] :] if "acked" in one], said
    if any("fatal" in one for one in said) and not killed:
        assert not any(one.get("done") for one in said), said


def make_personal(folder: Path) -> None:
    """A new log with a key store of personal fields."""
    make_ledger(folder)
    (folder / "subjects").mkdir(mode=0o700)


def judge_personal(folder: Path, said: Said, killed: bool) -> None:
    """As of any log; and personal fields open, but none of who was erased, not even from a copy of the database."""
    home = Home(folder)
    settings = PersonalSettings(folder / "subjects")
    log = home.open(personal=settings)
    # What goes on after the fault must be keepable as before.
    log.append([received(uuid7())], checkpoint=True)
    erased = {one["erased"] for one in said if "erased" in one}
    erasing = {one["erasing"] for one in said if "erasing" in one}
    for number in erasing:
        _finished(home, log, number, {one["seq"] for one in said if one.get("number") == number})
    log.close()
    opener = FieldOpener(folder / "subjects", load_pseudonym_key(home.keys))
    for one in said:
        if "texts" not in one:
            continue
        opened = [opener.open(text) for text in one["texts"]]
        if one["number"] in erased:
            assert opened == [None, None], f"event {one['seq']} was erased and opens"
        elif one["number"] not in erasing:
            assert None not in opened, f"event {one['seq']} was acknowledged and a personal field does not open"
            names = {parse_disclosure(str(text)).name for text in opened}
            assert names == {"caller", "dialled"}
    opener.close()
    with closing(sqlite3.connect(home.db)) as db:
        rows = db.execute("SELECT count(*) FROM disclosures WHERE seq IN (SELECT seq FROM events)").fetchone()[0]
    assert rows >= 2
    findings = home.verify()
    assert findings == [], "\n".join(map(str, findings))
    stored = _stored(home)
    lost = [one for one in said if "acked" in one and stored.get(one["acked"]) != one["seq"]]
    assert not lost, lost


def _finished(home: Home, log: Log, number: str, seqs: set[int]) -> None:
    """An erasure by number that was cut short finds by that number all that it has still to do."""
    with LogSource(home.db) as source:
        done = any(row.type == "subject.erased" for row in source.rows())
    found = {match.seq for match in log.personal.find_number(number)} & seqs
    assert found == (set() if done else seqs), f"{number}: {found} of {seqs} are found, erased: {done}"
    if not done:
        fields = tuple((seq, None) for seq in found)
        log.append([Entry("subject.erased", None, {}, erases=Erasing(fields, number))], checkpoint=True)
        assert log.personal.find_number(number) == []


def _stored(home: Home) -> dict[str, int]:
    with LogSource(home.db) as source:
        return {row.id: row.seq for row in source.rows()}


def make_vault(folder: Path) -> None:
    """Keys and folders as `ivr init` makes them."""
    vault(folder)


def judge_vault(folder: Path, said: Said, killed: bool) -> None:
    """Every segment that is there opens and is right; those called durable are there, unless erasing had begun."""
    store = RecordingStore(folder / "recordings", folder / "keystore", folder / "recipients.txt", min_free_bytes=0)
    erased = {one["erased"] for one in said if "erased" in one}
    erasing = {one["erasing"] for one in said if "erasing" in one}
    for one in said:
        if "seed" not in one:
            continue
        call, recording = one["call"], one["recording"]
        if recording in erased:
            assert not store.key_file(recording).exists(), f"{recording} was erased and has its key"
        elif recording not in erasing:
            _kept(store, folder / "officer.age", one, _promised(said, recording), killed)
        store.erase(call, recording)
        assert not store.key_file(recording).exists()
        assert not store.folder(call, recording).exists()
    assert store.strays() == []
    assert list(store.recordings.iterdir()) == []


def _promised(said: Said, recording: str) -> list[dict[str, Any]]:
    """The facts that were called durable."""
    facts = [one["fact"] for one in said if one.get("sealed") == recording]
    last = [one["facts"] for one in said if one.get("kept") == recording]
    return last[-1] if last else facts


def _kept(store: RecordingStore, officer: Path, one: dict[str, Any], promised: list[Any], killed: bool) -> None:
    call, recording = one["call"], one["recording"]
    try:
        stored = store.stored(call, recording)
    except NotFound:
        assert not promised
        return
    there = [asdict(fact) for fact in stored.segments]
    assert all(fact in there for fact in promised), f"{recording}: promised {promised}, there is {there}"
    assert all(is_leftover(name) for name in stored.others), stored.others
    if not stored.segments:
        return
    audio = OpenRecording(store, call, recording, load_identities(officer)).audio()
    length = SECONDS * RATE
    expected = np.stack([noise(length, one["seed"]), noise(length, one["seed"] + 100)], axis=1)
    assert (audio == expected[: len(audio)]).all(), f"{recording} holds other audio"


def make_init(folder: Path) -> None:
    """Nothing yet."""
    folder.mkdir()


def judge_init(folder: Path, said: Said, killed: bool) -> None:
    """Either nothing is there and init can be run again, or all of it is, and it is what was printed."""
    server = folder / "server"
    made = [one["made"] for one in said if "made" in one]
    whole = server.exists() and any(server.iterdir())
    assert whole or not made, "init said it was done, and it is gone"
    for beside in folder.iterdir():
        # What a crash left of the building is named so; after an error nothing is left.
        assert beside == server or (killed and beside.name.startswith(".server.init-")), beside
    if not whole:
        for beside in folder.glob(".server.init-*"):
            shutil.rmtree(beside)
        try:
            made = [initialise(server, "example.org/consent-log").vkey]
        except InitError as error:
            raise AssertionError(f"init cannot be run again: {error}") from error
    settings = Settings.load(server)
    keys = server / "keys"
    assert not made or str(load_vkey(keys)) == made[-1]
    assert load_identities(keys / OFFICER)
    assert load_recipients(keys / "recipients.txt")
    Log.open(settings.storage.database, load_ledger_key(keys), load_pseudonym_key(keys)).close()
    with LogSource(settings.storage.database) as source:
        report = verify_log(source, VKey.read(keys / "ledger.vkey"))
    assert report.findings == []
    assert report.events == 2


Judge = Callable[[Path, Said, bool], None]
MAKERS: dict[str, Callable[[Path], None]] = {
    "ledger": make_ledger,
    "personal": make_personal,
    "vault": make_vault,
    "init": make_init,
}
JUDGES: dict[str, Judge] = {
    "ledger": judge_ledger,
    "personal": judge_personal,
    "vault": judge_vault,
    "init": judge_init,
}
