# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings in a folder that machines share; and what the archiver, the vault and the ledger make of both places."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from archive_kit import archived, exported, findings, folder_node, hashes, local, move, settled, status
from ivr.cli.serve import _children
from ivr.ledger.ids import uuid7
from ivr.ledger.permit import verify_permit
from ivr.node.archive import open_archive, vault_of
from ivr.node.settings import Settings
from ivr.vault.archiver import Archiver, Pace
from ivr.vault.errors import ArchiveError, CannotOpen, NotFound, VaultError
from ivr.vault.open import OpenRecording
from ivr.vault.remote_folder import MARK
from ivr.vault.sealing import load_identities
from ivr.vault.segments import segment_name
from ivr.vault.spool import Pack, Spool
from ivr.vault.store import RecordingStore
from ivr.vault.writer import RecordingWriter
from rights_kit import RATE, Server
from store_kit import until
from vault_kit import feed, noise, permit_token


@pytest.fixture
def node(tmp_path: Path) -> Server:
    return folder_node(tmp_path / "node", tmp_path / "shared")


def shared(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "shared").rglob("*") if path.is_file() and path.name != MARK)


def mover(node: Server, settle_s: float = 5.0, keep_s: float = 0.0) -> Archiver:
    return Archiver(vault_of(node.settings), open_archive(node.settings), Pace(settle_s, keep_s))


def test_a_folder_serves_as_an_archive(node: Server, tmp_path: Path) -> None:
    call = node.call(seconds=4)
    before, wav = hashes(node), exported(node, call, tmp_path / "before.wav")
    settled(node)
    move(node)
    assert local(node) == []
    assert archived(node) == before
    assert exported(node, call, tmp_path / "after.wav") == wav
    assert findings(node) == []
    # Anybody's tar opens a pack; age opens what is in it, with the recording's key.
    (pack,) = shared(tmp_path)
    listed = subprocess.run(["tar", "tf", str(pack)], capture_output=True, text=True, check=True, timeout=60)
    assert sorted(f"{call.recording}/{name}" for name in listed.stdout.split()) == sorted(before)
    assert (pack.stat().st_mode & 0o007) == 0


def test_a_share_that_is_not_mounted_is_no_archive(node: Server, tmp_path: Path) -> None:
    """Else recordings would go into the empty folder below the mount, and be gone from sight once it is mounted."""
    node.call(seconds=2)
    settled(node)
    before = hashes(node)
    (tmp_path / "shared" / MARK).unlink()
    done = node.ivr("archive", "run", "--once")
    assert done.exit_code == 1
    assert "not mounted" in done.output
    assert hashes(node) == before
    assert shared(tmp_path) == []
    assert node.ivr("archive", "check").exit_code == 2


def test_what_comes_back_changed_is_not_removed_here(
    node: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.call(seconds=2)
    before = hashes(node)
    work = mover(node)
    remote = work._archive.remote
    real = remote.put
    monkeypatch.setattr(remote, "put", lambda key, data: real(key, data[:-1] + b"x"))
    done = work.round(time.time() + 10)
    assert isinstance(done.error, ArchiveError)
    assert "not the" in str(done.error)
    assert hashes(node) == before
    # Nobody is told that the archive has them.
    store = vault_of(node.settings)
    assert [store.in_archive(*one) for one in store.ids()] == [0]
    monkeypatch.undo()
    assert work.round(time.time() + 10).error is None
    assert (local(node), archived(node)) == ([], before)


def test_what_was_only_meant_to_be_sent_is_not_removed_here(node: Server) -> None:
    """A killed archiver's intent, of a pack that cannot be made again as it was, while the recording goes on."""
    call = node.call(seconds=4)
    before, now = hashes(node), time.time()
    settled(node)
    facts = vault_of(node.settings).inventory(call.id, call.recording)
    os.utime(local(node)[-1], (now, now))
    meant = (*facts[:-2], replace(facts[-2], sha256="00" * 32))
    spool = Spool(node.folder / "data/archive")
    spool.save(call.id, call.recording, [Pack("000000-000001.tar", "00" * 32, 10, 0, meant)])
    assert len(facts) >= 3
    assert mover(node, settle_s=60).round(now).packs == 0
    assert hashes(node) == before


def test_moved_segments_may_stay_for_a_while(node: Server) -> None:
    node.call(seconds=2)
    before, now = hashes(node), time.time() + 10
    work = mover(node, keep_s=3600)
    assert work.round(now).segments == len(before)
    assert hashes(node) == archived(node) == before
    assert findings(node) == []
    assert status(node)["waiting_segments"] == 0
    assert work.round(now + 3599).packs == 0
    assert hashes(node) == before
    work.round(now + 3601)
    assert local(node) == []


def test_a_segment_that_changed_after_it_was_sent_stays_and_is_named(node: Server) -> None:
    node.call(seconds=2)
    now = time.time() + 10
    mover(node, keep_s=3600).round(now)
    spoilt = local(node)[0]
    spoilt.write_bytes(spoilt.read_bytes()[:-1] + b"x")
    mover(node).round(now)
    assert local(node) == [spoilt]
    assert any("is not what was logged" in one for one in findings(node))


def test_the_empty_folder_of_a_recording_goes_after_a_while(node: Server) -> None:
    call = node.call(seconds=2)
    folder = node.settings.storage.recordings / call.id
    settled(node)
    work = mover(node, settle_s=3600)
    for later in (10, 3000):
        work.round(time.time() + later)
        assert local(node) == []
        assert (folder / call.recording).is_dir()
    work.round(time.time() + 4000)
    assert not folder.exists()


def test_a_running_recording_is_moved_in_part_and_goes_on(node: Server, tmp_path: Path) -> None:
    call, recording = uuid7(), uuid7()
    jws, vkey = permit_token(call, recording)
    storage = node.settings.storage
    there = storage.archive
    assert there is not None
    store = RecordingStore(
        storage.recordings, storage.keystore, node.settings.keys.recipients, min_free_bytes=0, spool=Spool(there.folder)
    )
    writer = RecordingWriter(verify_permit(jws, vkey, call=call), store, RATE)
    audio = noise(4 * RATE)
    feed(writer, audio, audio)
    writer.pause()
    until(lambda: sum(one.samples for one in writer.sealed) == len(audio), "all is sealed")
    first = len(writer.sealed)
    assert mover(node).round(time.time() + 10).segments == first
    # On hold for so long that nothing of it is left here.
    mover(node).round(time.time() + 10)
    assert not (storage.recordings / call).exists()
    writer.resume(9000)
    feed(writer, audio, audio)
    kept = writer.finish("hangup").result(20)
    assert kept.error is None
    reader = vault_of(node.settings)
    assert tuple(reader.inventory(call, recording)) == kept.segments
    assert len(local(node)) == len(kept.segments) - first
    opened = OpenRecording(reader, call, recording, load_identities(node.officer))
    assert (opened.audio()[:, 0] == [*audio, *audio]).all()
    # A segment that the archive has cannot be taken back alone: a recording must not pass for shortened.
    with pytest.raises(VaultError, match="in the archive already"):
        reader.drop(call, recording, kept.segments[0])


def test_the_ledger_counts_both_places_after_a_crash(node: Server, tmp_path: Path) -> None:
    """Its inventory of a lost call: without network, the same as if nothing had been moved."""
    call = node.call(seconds=5)
    store = vault_of(node.settings)
    whole = [asdict(fact) for fact in store.inventory(call.id, call.recording)]
    mover(node).round(time.time() + 10)
    fact = store.inventory(call.id, call.recording)[-1]
    # One that was moved and is here too, as with `keep`.
    back = store.folder(call.id, call.recording) / segment_name(fact.n, fact.start, fact.samples)
    back.parent.mkdir(parents=True)
    back.write_bytes(open_archive(node.settings).read(call.id, call.recording, fact))
    (tmp_path / "shared").rename(tmp_path / "away")
    assert [asdict(one) for one in store.inventory(call.id, call.recording)] == whole


def test_erased_is_erased_although_the_archive_has_it(node: Server, tmp_path: Path) -> None:
    call = node.call(seconds=2)
    mover(node).round(time.time() + 10)
    store = vault_of(node.settings)
    opened = load_identities(node.officer)
    erasure = store.erase(call.id, call.recording)
    assert (erasure.key_destroyed, erasure.files) == (True, 0)
    assert erasure.archived > 0
    assert list(store.ids()) == []
    with pytest.raises(NotFound):
        store.stored(call.id, call.recording)
    with pytest.raises((CannotOpen, NotFound)):
        OpenRecording(store, call.id, call.recording, opened)
    again = store.erase(call.id, call.recording)
    assert (again.key_destroyed, again.archived) == (False, 0)
    assert len(shared(tmp_path)) == 1
    assert mover(node).round(time.time()).erased == 1
    assert shared(tmp_path) == []
    assert store.strays() == []


def test_an_erasure_between_reading_and_sending_wins(
    node: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = node.call(seconds=2)
    work = mover(node)
    remote, store = work._archive.remote, vault_of(node.settings)
    real = remote.put

    def erase_then_put(key: str, data: bytes) -> None:
        store.erase(call.id, call.recording)
        real(key, data)

    monkeypatch.setattr(remote, "put", erase_then_put)
    work.round(time.time() + 10)
    monkeypatch.undo()
    assert list(store.ids()) == []
    assert work.round(time.time() + 10).error is None
    assert shared(tmp_path) == []
    assert not list(Spool(node.folder / "data/archive").ids())


def test_a_lost_catalog_is_made_anew(node: Server, tmp_path: Path) -> None:
    call, gone = node.call(seconds=4), node.call(seconds=2, seed=9)
    before, wav = hashes(node), exported(node, call, tmp_path / "before.wav")
    mover(node).round(time.time() + 10)
    shutil.rmtree(node.folder / "data/archive")
    with node.serving():
        assert node.by_officer("erase", "--recording", gone.recording).exit_code == 0
    assert json.loads(node.ivr("recording", "list", "--json").stdout) == []
    (pack,) = [path for path in shared(tmp_path) if call.recording in str(path)]
    (pack.parent / "000900-000901.tar").write_bytes(b"what is this")
    first = node.ivr("archive", "rebuild")
    assert first.exit_code == 1
    assert "000900-000901.tar: " in first.stdout
    (pack.parent / "000900-000901.tar").unlink()
    assert node.ivr("archive", "rebuild").exit_code == 0
    assert exported(node, call, tmp_path / "after.wav") == wav
    assert archived(node) == before
    move(node)
    assert not any(gone.recording in name for name in archived(node))
    assert findings(node) == []


def test_a_full_spool_raises_an_alarm(node: Server) -> None:
    node.call(seconds=2)
    config = node.folder / "server.yaml"
    config.write_text(config.read_text().replace("}}", ", spool_max: 1}}"))
    assert not any("wait here" in one for one in status(node)["alarms"])
    path = local(node)[0]
    with path.open("ab") as file:
        file.truncate(2_000_000)
    found = status(node)
    assert any("more than spool_max" in one for one in found["alarms"])
    assert node.ivr("archive", "status").exit_code == 1


def test_a_server_without_an_archive_is_as_it_was(tmp_path: Path) -> None:
    from rights_kit import make_server

    server = make_server(tmp_path)
    call = server.call(seconds=2)
    assert server.ivr("archive", "status").exit_code == 2
    assert server.ivr("archive", "run", "--once").exit_code == 2
    with server.serving():
        assert server.by_officer("erase", "--recording", call.recording).exit_code == 0
    (event,) = server.events("recording.erased")
    assert "archived" not in event.data
    assert not (server.folder / "data/archive").exists()
    assert json.loads(server.ivr("log", "verify", "--json").stdout)["archive_read"] is None


def test_listing_and_erasing_need_none_of_the_stores_packages(tmp_path: Path) -> None:
    """A worker, a ledger and a listing import nothing that talks to a store."""
    program = (
        "import sys; from pathlib import Path; from ivr.node.settings import Settings; "
        "from ivr.node.archive import vault_of, status; import ivr.node.worker, ivr.cli.ledger; "
        "settings = Settings.load(Path(sys.argv[1])); list(vault_of(settings).ids()); status(settings); "
        "print([name for name in ('s3fs', 'fsspec', 'botocore', 'aiobotocore') if name in sys.modules])"
    )
    server = folder_node(tmp_path / "node", tmp_path / "shared")
    done = subprocess.run(
        [sys.executable, "-c", program, str(server.folder)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_serve_runs_an_archiver_where_there_is_an_archive(node: Server, tmp_path: Path) -> None:
    def parts(folder: Path) -> list[str]:
        return [child.name for child in _children(Settings.load(folder), folder)]

    assert parts(node.folder) == ["ledger", "archive", "pool"]
    (node.folder / "server.yaml").write_text("")
    assert parts(node.folder) == ["ledger", "pool"]
