# SPDX-License-Identifier: GPL-3.0-or-later
"""The two folders: listed without a key, strays named, erasing final and repeatable."""

import hashlib
import os
from pathlib import Path

import pytest

from ivr.ledger.ids import uuid7
from ivr.vault.durable import write_durably
from ivr.vault.errors import CannotOpen, KeyFileError, NotFound, VaultError, VaultExists, VaultFull, VaultUnwritable
from ivr.vault.open import OpenRecording
from ivr.vault.sealing import load_identities
from ivr.vault.spool import Pack, Spool
from ivr.vault.store import RecordingStore
from ivr.vault.writer import RecordingSummary, RecordingWriter
from vault_kit import Vault, everything, feed, noise, permit, vault

RATE = 8000


@pytest.fixture
def box(tmp_path: Path) -> Vault:
    return vault(tmp_path / "vault")


def record(box: Vault, seconds: int = 4) -> RecordingSummary:
    writer = RecordingWriter(permit(), box.store, RATE)
    feed(writer, noise(seconds * RATE, 1), noise(seconds * RATE, 2))
    return writer.finish("hangup").result(20)


def test_the_inventory_needs_no_key(box: Vault) -> None:
    kept = record(box)
    (box.store.key_file(kept.recording)).unlink()
    blind = RecordingStore(box.store.recordings, box.store.keystore, None)
    facts = blind.inventory(kept.call, kept.recording)
    assert facts == list(kept.segments)
    for fact, path in zip(facts, sorted(box.store.folder(kept.call, kept.recording).iterdir()), strict=True):
        assert fact.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert fact.bytes == path.stat().st_size
        assert path.stat().st_mode & 0o7777 == 0o600
    assert blind.inventory(uuid7(), uuid7()) == []


def test_what_is_stored_is_listed(box: Vault) -> None:
    first, second = record(box, 1), record(box, 3)
    assert list(box.store.ids()) == sorted([(first.call, first.recording), (second.call, second.recording)])
    stored = box.store.stored(second.call, second.recording)
    assert (stored.samples, stored.has_key, stored.others) == (3 * RATE, True, ())
    assert stored.bytes == len(everything(box.store.folder(second.call, second.recording)))
    with pytest.raises(NotFound):
        box.store.stored(first.call, second.call)


def test_an_id_may_be_shortened_while_it_is_clear(box: Vault) -> None:
    first, second = record(box, 1), record(box, 1)
    pair = (first.call, first.recording)
    common = os.path.commonprefix([first.recording, second.recording])  # noqa: RUF071 - ids are strings, not paths
    assert box.store.find(first.recording) == pair
    assert box.store.find(first.recording[: len(common) + 1].upper()) == pair
    with pytest.raises(NotFound, match="2 recordings begin so"):
        box.store.find(common)
    for wrong in ("", "zz", "../"):
        with pytest.raises(NotFound):
            box.store.find(wrong)


@pytest.mark.parametrize("evil", ["../../etc", "", ".", "a/b", "0198C0DE-0000-7000-8000-00000000000A", "x" * 36])
def test_only_ids_become_paths(box: Vault, evil: str) -> None:
    for act in (
        lambda: box.store.folder(evil, uuid7()),
        lambda: box.store.folder(uuid7(), evil),
        lambda: box.store.key_file(evil),
        lambda: box.store.create(uuid7(), evil),
    ):
        with pytest.raises(VaultError, match="is not an id"):
            act()


def test_missing_folders_and_recipients_are_named(tmp_path: Path, box: Vault) -> None:
    with pytest.raises(VaultUnwritable, match="ivr init"):
        RecordingStore(tmp_path / "none", box.store.keystore, None)
    with pytest.raises(KeyFileError):
        RecordingStore(box.store.recordings, box.store.keystore, tmp_path / "none")
    with pytest.raises(VaultError, match="reading only"):
        RecordingStore(box.store.recordings, box.store.keystore, None).create(uuid7(), uuid7())


def test_no_recording_is_started_on_a_nearly_full_disk(tmp_path: Path) -> None:
    box = vault(tmp_path / "full", min_free_bytes=2**62)
    with pytest.raises(VaultFull, match="bytes free"):
        box.store.create(uuid7(), uuid7())
    assert box.store.strays() == []


def test_a_recording_is_made_once(box: Vault) -> None:
    call, recording = uuid7(), uuid7()
    box.store.create(call, recording)
    with pytest.raises(VaultExists):
        box.store.create(call, recording)
    box.store.key_file(recording).unlink()
    with pytest.raises(VaultExists):
        box.store.create(call, recording)
    # The second attempt found the folder only after it had made a key: that key is gone again.
    assert not box.store.key_file(recording).exists()


def test_erasing_destroys_key_and_files_and_can_be_repeated(box: Vault) -> None:
    kept, other = record(box), record(box)
    done = box.store.erase(kept.call, kept.recording)
    assert (done.key_destroyed, done.files) == (True, len(kept.segments))
    assert done.bytes == sum(s.bytes for s in kept.segments)
    again = box.store.erase(kept.call, kept.recording)
    assert (again.key_destroyed, again.files) == (False, 0)
    assert list(box.store.ids()) == [(other.call, other.recording)]
    assert len(OpenRecording(box.store, other.call, other.recording, load_identities(box.officer)).audio()) == 4 * RATE


def test_an_interrupted_erasure_is_finished_by_the_next(box: Vault) -> None:
    kept = record(box)
    box.store.key_file(kept.recording).unlink()
    with pytest.raises(CannotOpen, match="erased"):
        OpenRecording(box.store, kept.call, kept.recording, load_identities(box.officer))
    assert box.store.erase(kept.call, kept.recording).files == len(kept.segments)
    assert list(box.store.recordings.iterdir()) == []


def with_spool(box: Vault, tmp_path: Path) -> tuple[RecordingStore, Spool]:
    spool = Spool(tmp_path / "spool")
    spool.create()
    return RecordingStore(box.store.recordings, box.store.keystore, None, spool=spool), spool


def test_a_catalog_that_cannot_be_read_does_not_keep_a_recording(box: Vault, tmp_path: Path) -> None:
    store, spool = with_spool(box, tmp_path)
    kept = record(box)
    pack = Pack("p", "00", 9, 1.0, tuple(kept.segments))
    spool.save(kept.call, kept.recording, [pack])
    (entry,) = spool.folder.rglob(f"{kept.recording}.json")
    entry.write_bytes(entry.read_bytes()[:9])
    done = store.erase(kept.call, kept.recording)
    assert (done.key_destroyed, done.files, done.archived) == (True, len(kept.segments), 0)
    assert list(store.local_ids()) == []
    assert [(one.call, one.recording) for one in spool.erasures()] == [(kept.call, kept.recording)]


def test_what_the_archive_has_is_counted_before_its_removal_is_ordered(box: Vault, tmp_path: Path) -> None:
    store, spool = with_spool(box, tmp_path)
    kept = record(box)
    spool.save(kept.call, kept.recording, [Pack("p", "00", 9, 1.0, tuple(kept.segments))])
    assert store.erase(kept.call, kept.recording).archived == len(kept.segments)


def test_a_spool_that_may_not_be_read_is_an_error_of_the_vault(box: Vault, tmp_path: Path) -> None:
    """Whoever erases catches those, says that it is still to be done, and tries again."""
    _, spool = with_spool(box, tmp_path)
    folder = spool.folder / "erase"
    folder.chmod(0)
    uid = os.geteuid()
    if uid == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(VaultUnwritable):
            spool.is_erased(uuid7(), uuid7())
    finally:
        os.seteuid(uid)
        folder.chmod(0o700)


def test_a_calls_folder_stays_while_it_has_another_recording(box: Vault) -> None:
    call, first, second = uuid7(), uuid7(), uuid7()
    box.store.create(call, first)
    box.store.create(call, second)
    box.store.erase(call, first)
    assert list(box.store.ids()) == [(call, second)]


def test_strays_and_leftovers_are_named(box: Vault) -> None:
    kept = record(box)
    folder = box.store.folder(kept.call, kept.recording)
    assert box.store.strays() == []
    leftover = folder / ".000009-000000000001-000000000001.flac.age.assent-part-00ff"
    strays = [
        leftover,
        folder / "notes.txt",
        folder.parent / "x",
        box.store.recordings / "y",
        box.store.keystore / f"{uuid7()}.age",
        box.store.keystore / "z",
    ]
    for path in strays:
        write_durably(path, b"?")
    assert box.store.strays() == sorted(strays)
    assert box.store.stored(kept.call, kept.recording).others == (leftover.name, "notes.txt")
    assert box.store.inventory(kept.call, kept.recording) == list(kept.segments)
    assert box.store.remove_leftovers(kept.call, kept.recording) == [leftover.name]
    assert box.store.strays() == sorted(strays[1:])
