# SPDX-License-Identifier: GPL-3.0-or-later
"""An exported log: the files of C2SP tlog-tiles, added to later, never ahead of what its checkpoint covers."""

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import ivr.audit.export as exporting
from bench.receipts import ORIGIN, build
from ivr.audit.export import Exported, ExportRefused, export
from ivr.audit.findings import Check
from ivr.audit.source import LogSource, SourceError
from ivr.audit.tiles import TileFolder, bundle, tile_path, unbundle
from ivr.audit.verify import verify_log
from ivr.ledger.errors import LedgerFatal
from ivr.ledger.keys import LedgerKey
from ivr.ledger.migrate import upgrade
from ivr.ledger.note import VKey, open_checkpoint
from ivr.ledger.tree import leaf_hash
from ledger_kit import Home, joined, make_home, recorded_call
from proof_kit import cut, edit
from tampering_kit import text, with_leaf

SMALL = ["checkpoint", "tile/0/000.p/8", "tile/entries/000.p/8"]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = make_home(tmp_path)
    recorded_call(made)
    return made


def write(home: Home, folder: Path | None = None, keys: Sequence[VKey] | None = None) -> Exported:
    with LogSource(home.db) as source:
        return export(source, keys or [home.vkey], folder or home.path / "out")


def grow(home: Home, events: int) -> None:
    for start in range(0, events, 400):
        home.append([joined(at_ms=n) for n in range(min(400, events - start))])


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def findings(folder: Path, key: VKey) -> list[str]:
    with TileFolder(folder) as source:
        return [f"{one.check}:{one.event}" for one in verify_log(source, key).findings]


@pytest.mark.parametrize(
    ("level", "number", "width", "path"),
    [
        (0, 1234067, 256, "tile/0/x001/x234/067"),
        (0, 0, 256, "tile/0/000"),
        (1, 999, 17, "tile/1/999.p/17"),
        ("entries", 1000, 256, "tile/entries/x001/000"),
        (2, 1234067, 1, "tile/2/x001/x234/067.p/1"),
    ],
)
def test_paths_of_the_specification(level: int | str, number: int, width: int, path: str) -> None:
    assert str(tile_path(level, number, width)) == path


def test_bundles() -> None:
    entries = [b"", b"a" * 65_535, b"xyz"]
    assert unbundle(bundle(entries)) == entries
    for missing in (1, 2, 65_000):
        with pytest.raises(ValueError, match="ends inside"):
            unbundle(bundle(entries)[:-missing])
    with pytest.raises(ValueError, match="inside a length"):
        unbundle(bundle(entries) + b"\0")


def test_the_files_of_a_small_log(home: Home) -> None:
    assert write(home) == Exported(0, 8, 2)
    out = home.path / "out"
    assert files(out) == SMALL
    assert open_checkpoint((out / "checkpoint").read_text(), home.vkey).size == 8
    with TileFolder(out) as folder, LogSource(home.db) as log:
        assert list(folder.rows()) == list(log.rows())
    raw = (out / "tile/0/000.p/8").read_bytes()
    assert raw[:32] == leaf_hash(unbundle((out / "tile/entries/000.p/8").read_bytes())[0])
    assert findings(out, home.vkey) == []


def test_a_later_run_adds_what_is_new_and_drops_partial_tiles(home: Home) -> None:
    write(home)
    grow(home, 800)
    kept = {path: (home.path / "out" / path).stat().st_ino for path in SMALL}
    assert write(home) == Exported(8, 808, 9)
    assert files(home.path / "out") == [
        "checkpoint",
        *("tile/0/000", "tile/0/001", "tile/0/002", "tile/0/003.p/40", "tile/1/000.p/3"),
        *("tile/entries/000", "tile/entries/001", "tile/entries/002", "tile/entries/003.p/40"),
    ]
    full = (home.path / "out/tile/0/001").stat().st_ino
    grow(home, 300)
    write(home)
    assert (home.path / "out/tile/0/001").stat().st_ino == full, "a full tile is written once"
    assert findings(home.path / "out", home.vkey) == []
    assert write(home) == Exported(1108, 1108, 0)
    assert kept
    # What is made in steps is what is made at once.
    write(home, home.path / "once")
    once, steps = home.path / "once", home.path / "out"
    assert set(files(once)) <= set(files(steps))
    assert all((once / path).read_bytes() == (steps / path).read_bytes() for path in files(once))


def test_no_personal_data_is_in_it(home: Home) -> None:
    write(home)
    with LogSource(home.db) as source:
        texts = [one.text for one in source.disclosures()]
    assert len(texts) == 3
    every = b"".join((home.path / "out" / path).read_bytes() for path in files(home.path / "out"))
    for secret in ["+4930123456", "4930123456", *texts]:
        assert secret.encode() not in every


def test_the_checkpoint_is_last(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash before it leaves the folder as it was for everybody who reads it, and the next run finishes it."""
    write(home)
    before = (home.path / "out" / "checkpoint").read_text()
    grow(home, 300)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(exporting._Writer, "publish", crash)
        with pytest.raises(KeyboardInterrupt):
            write(home)
    assert (home.path / "out" / "checkpoint").read_text() == before
    assert findings(home.path / "out", home.vkey) == []
    assert write(home).before == 8
    assert findings(home.path / "out", home.vkey) == []


def test_what_is_written_is_on_disk_before_the_checkpoint(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    settle, publish = exporting._Writer.settle, exporting._Writer.publish

    def settled(writer: exporting._Writer) -> None:
        order.append("settle")
        settle(writer)

    def published(writer: exporting._Writer, note: str) -> None:
        order.append("publish")
        publish(writer, note)

    monkeypatch.setattr(exporting._Writer, "settle", settled)
    monkeypatch.setattr(exporting._Writer, "publish", published)
    write(home)
    assert order == ["settle", "publish"]


def test_a_log_that_was_rewritten_is_not_published(home: Home, tmp_path: Path) -> None:
    write(home)
    before = (home.path / "out" / "checkpoint").read_text()
    cut(home, 6)
    home.append([joined(at_ms=n) for n in range(4)])
    with pytest.raises(ExportRefused, match="rewritten"):
        write(home)
    cut(home, 6)
    home.append([joined()])
    with pytest.raises(ExportRefused, match="cut"):
        write(home)
    assert (home.path / "out" / "checkpoint").read_text() == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET jws = jws || 'A' WHERE seq = 3",
        "UPDATE events SET leaf = zeroblob(32) WHERE seq = 3",
        "DELETE FROM events WHERE seq = 307",
        "UPDATE nodes SET hash = zeroblob(32)",
    ],
)
def test_a_changed_log_is_not_published(home: Home, statement: str) -> None:
    grow(home, 300)
    edit(home, statement)
    with pytest.raises(ExportRefused):
        write(home)
    assert not (home.path / "out" / "checkpoint").exists()


def test_a_log_that_a_careful_forger_changed_is_not_published(home: Home) -> None:
    """Everything beside the event is as it must be; only the signed root tells."""
    with closing(sqlite3.connect(home.db)) as db, db:
        with_leaf(db, 3, text(db, 4))
    with pytest.raises(ExportRefused, match="do not give the root"):
        write(home)


@pytest.mark.parametrize(("gone", "said"), [("seq = 3", "event 3 is missing"), ("seq > 508", "event 509 is missing")])
def test_an_event_that_only_its_hash_is_left_of(home: Home, gone: str, said: str) -> None:
    """512 events: the root follows from two stored hashes, and none of the events below them is read for it."""
    grow(home, 504)
    edit(home, f"DELETE FROM events WHERE {gone}")
    with pytest.raises(ExportRefused, match=said):
        write(home)
    assert not (home.path / "out" / "checkpoint").exists()


def test_a_stored_hash_below_another_one(tmp_path: Path) -> None:
    """More than 256² events: the root follows from the second level, and the first one must fit it all the same."""
    key = LedgerKey.of(ORIGIN, Ed25519PrivateKey.generate())
    build(tmp_path / "log.sqlite", 256 * 256, key)
    with closing(sqlite3.connect(tmp_path / "log.sqlite")) as db, db:
        db.execute("UPDATE nodes SET hash = zeroblob(32) WHERE level = 1 AND number = 9")
    with LogSource(tmp_path / "log.sqlite") as source, pytest.raises(ExportRefused, match="level 1"):
        export(source, [key.vkey], tmp_path / "out")


def test_a_folder_of_something_else_is_left_alone(home: Home, tmp_path: Path) -> None:
    other = tmp_path / "documents"
    other.mkdir()
    (other / "letter").write_text("dear")
    with pytest.raises(ExportRefused, match="no export"):
        write(home, other)
    (tmp_path / "second").mkdir()
    stranger = make_home(tmp_path / "second")
    write(stranger, other.with_name("export"))
    with pytest.raises(ExportRefused, match="checkpoint: not signed"):
        write(home, other.with_name("export"))


@pytest.mark.parametrize(
    ("file", "check"),
    [
        ("tile/entries/000", Check.EVENT),
        ("tile/0/000", Check.INDEX),
        ("tile/1/000.p/1", Check.INDEX),
        ("checkpoint", Check.CHECKPOINT),
    ],
)
def test_verify_finds_a_changed_file(home: Home, file: str, check: Check) -> None:
    grow(home, 300)
    write(home)
    place = home.path / "out" / file
    raw = bytearray(place.read_bytes())
    # In a bundle inside a payload, in the checkpoint inside its signature, in a tile inside a hash.
    at = len(raw) - 20 if file == "checkpoint" else 300 if "entries" in file else 7
    raw[at] = ord("B") if raw[at] == ord("A") else ord("A")
    place.write_bytes(bytes(raw))
    assert str(check) in {one.split(":")[0] for one in findings(home.path / "out", home.vkey)}


def test_a_missing_tile_is_said(home: Home) -> None:
    write(home)
    shutil.rmtree(home.path / "out" / "tile" / "entries")
    with TileFolder(home.path / "out") as source, pytest.raises(SourceError, match="no such file"):
        list(source.rows())
    with pytest.raises(SourceError, match="ivr log export"):
        TileFolder(home.path)


def test_a_bundle_that_lacks_an_entry_is_said(home: Home) -> None:
    write(home)
    place = home.path / "out" / "tile/entries/000.p/8"
    place.write_bytes(bundle(unbundle(place.read_bytes())[:-1]))
    with TileFolder(home.path / "out") as source, pytest.raises(SourceError, match="7 entries, not 8"):
        list(source.rows())


def test_a_log_from_before_hashes_were_kept_gets_them(home: Home) -> None:
    grow(home, 600)
    write(home)
    with closing(sqlite3.connect(home.db)) as db, db:
        had = db.execute("SELECT level, number, hash FROM nodes ORDER BY 1, 2").fetchall()
        db.execute("DROP TABLE nodes")
        db.execute("DROP TABLE alembic_version")
        db.execute("UPDATE meta SET value = '1' WHERE name = 'schema'")
    write(home, home.path / "again")
    assert home.verify() == []
    upgrade(home.db)
    home.open().close()
    with closing(sqlite3.connect(home.db)) as db:
        assert db.execute("SELECT level, number, hash FROM nodes ORDER BY 1, 2").fetchall() == had
    assert len(had) == 2


def test_stored_hashes_are_not_derived_from_changed_leaves(home: Home) -> None:
    grow(home, 600)
    edit(home, "DELETE FROM nodes", "UPDATE events SET leaf = zeroblob(32) WHERE seq = 3")
    with pytest.raises(LedgerFatal, match="stored leaves"):
        home.open()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE nodes SET hash = zeroblob(32) WHERE number = 1",
        "DELETE FROM nodes",
        "INSERT INTO nodes VALUES (1, 900, zeroblob(32))",
    ],
)
def test_verify_compares_the_stored_hashes(home: Home, statement: str) -> None:
    grow(home, 600)
    assert home.verify() == []
    edit(home, statement)
    assert {one.check for one in home.verify()} == {Check.INDEX}
