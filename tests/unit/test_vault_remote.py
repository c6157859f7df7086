# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive's small parts: packs, credentials, endpoints, the catalog."""

import io
import os
import tarfile
import time
from pathlib import Path

import pytest

from ivr.flow.place import FileError
from ivr.ledger.ids import uuid7
from ivr.node.archive import node_name
from ivr.node.initialise import initialise
from ivr.node.settings import Settings
from ivr.vault.errors import ArchiveError, Damaged, NotFound, VaultError
from ivr.vault.pack import build_pack, is_pack_name, pack_name, read_pack
from ivr.vault.remote import Place, open_remote
from ivr.vault.remote_folder import MARK, FolderRemote
from ivr.vault.remote_s3 import check_endpoint, credentials
from ivr.vault.segments import SegmentFact, segment_name
from ivr.vault.spool import Pack, Spool

FILES = [(segment_name(n, n * 9600, 9600), os.urandom(500 + n)) for n in range(3)]


def test_a_pack_gives_back_what_was_put_in_and_is_the_same_each_time() -> None:
    pack = build_pack(FILES)
    assert read_pack(pack, "here") == dict(FILES)
    assert build_pack(FILES) == pack
    assert is_pack_name(pack_name(0, 2))
    assert not is_pack_name("000000-000002.tar.gz")


@pytest.mark.parametrize("cut", [0, 100, 700, 1024, 1200, 1536, 3072])
def test_a_pack_that_was_cut_is_damaged(cut: int) -> None:
    pack = build_pack(FILES)[:cut]
    with pytest.raises(Damaged, match="here"):
        read_pack(pack, "here")


@pytest.mark.parametrize("name", ["../000000-000000000000-000000009600.flac.age", "notes.txt", "/etc/passwd"])
def test_a_pack_with_anything_else_in_it_is_damaged(name: str) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(Damaged, match="no segment"):
        read_pack(out.getvalue(), "here")


def test_a_link_in_a_pack_is_damage() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo(FILES[0][0])
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(Damaged, match="no segment"):
        read_pack(out.getvalue(), "here")


# -- where -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["s3:///prefix", "http://example.org/bucket", "file://host/folder", "folder", ""])
def test_a_url_that_is_no_archive_is_refused(url: str) -> None:
    with pytest.raises(ArchiveError, match="is no archive"):
        open_remote(Place(url))


@pytest.mark.parametrize(
    ("endpoint", "plain", "why"),
    [
        (None, False, ""),
        ("https://s3.example.org", False, ""),
        ("http://127.0.0.1:9000", True, ""),
        ("http://10.1.2.3:9000", True, ""),
        ("http://[fd00::1]:9000", True, ""),
        ("http://localhost:9000", True, ""),
        ("http://127.0.0.1:9000", False, "not encrypted"),
        ("http://8.8.8.8", True, "not on a private network"),
        ("http://s3.example.org", True, "its name may lead anywhere"),
        ("ftp://10.1.2.3", True, "is no endpoint"),
        ("https://", False, "is no endpoint"),
    ],
)
def test_plain_http_is_for_private_addresses_that_were_asked_for(endpoint: str | None, plain: bool, why: str) -> None:
    place = Place("s3://bucket", endpoint=endpoint, plain_http=plain)
    if not why:
        check_endpoint(place)
        return
    with pytest.raises(ArchiveError, match=why):
        check_endpoint(place)


def test_credentials_come_from_a_file_that_nobody_else_reads(tmp_path: Path) -> None:
    file = tmp_path / "archive.ini"
    file.write_text("[default]\naws_access_key_id = AKIA\naws_secret_access_key = s%cret\naws_session_token = t\n")
    file.chmod(0o600)
    assert credentials(file) == {"key": "AKIA", "secret": "s%cret", "token": "t"}
    for mode in (0o640, 0o604, 0o660):
        file.chmod(mode)
        with pytest.raises(ArchiveError, match="others may read") as refused:
            credentials(file)
        assert "s%cret" not in str(refused.value)


@pytest.mark.parametrize("text", ["hunter2", "[default]\nhunter2", "[other]\nx = hunter2", "[default]\nx = hunter2"])
def test_a_file_that_holds_no_credentials_is_not_quoted(tmp_path: Path, text: str) -> None:
    file = tmp_path / "archive.ini"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(ArchiveError) as refused:
        credentials(file)
    error: BaseException | None = refused.value
    while error is not None:
        assert "hunter2" not in str(error)
        assert error.__suppress_context__ or error.__context__ is None
        error = error.__cause__


def test_the_settings_refuse_what_would_not_do(tmp_path: Path) -> None:
    folder = initialise(tmp_path / "s", "example.org/log").folder
    for group, why in (
        ("url: ftp://x", "is no archive"),
        ("url: s3://b, settle: 10s", "may still reach back"),
        ("url: s3://b, endpoint: http://10.0.0.1", "not encrypted"),
        ("url: s3://b, endpoint: minio", "is no endpoint"),
        ("endpoint: https://x", "url"),
        ("url: s3://b, secret: x", "secret"),
    ):
        (folder / "server.yaml").write_text(f"storage: {{archive: {{{group}}}}}\n")
        with pytest.raises(FileError, match=why):
            Settings.load(folder)
    (folder / "server.yaml").write_text("storage: {archive: {url: s3://b, credentials: keys/c.ini}}\n")
    there = Settings.load(folder).storage.archive
    assert there is not None
    assert (there.folder, there.credentials) == (folder / "data/archive", folder / "keys/c.ini")


def test_no_node_is_inside_another(tmp_path: Path) -> None:
    names = [node_name(Settings.load(initialise(tmp_path / n, n).folder)) for n in ("a", "a/b", "a_b")]
    assert len(set(names)) == 3
    assert not any("/" in name for name in names)


# -- folder ----------------------------------------------------------------------------------------------------------


def test_a_folder_keeps_objects_and_removes_them_with_all_that_is_below(tmp_path: Path) -> None:
    remote = FolderRemote(tmp_path)
    remote.begin()
    remote.put("n/a/b/one.tar", b"1")
    remote.put("n/a/b/one.tar", b"22")
    remote.put("n/a/bb/two.tar", b"2")
    assert [(one.key, one.bytes) for one in remote.keys("n/")] == [("n/a/b/one.tar", 2), ("n/a/bb/two.tar", 1)]
    # What a write that was killed left is sealed bytes too, under a name that no listing shows.
    left = tmp_path / "n/a/b/.one.tar.assent-part-12345678"
    left.write_bytes(b"half")
    assert len(remote.keys("n/a/b/")) == 1
    assert remote.remove("n/a/b/") == 2
    assert not (tmp_path / "n/a/b").exists()
    assert remote.get("n/a/bb/two.tar") == b"2"
    with pytest.raises(NotFound):
        remote.get("n/a/b/one.tar")
    assert remote.remove("n/a/b/") == 0
    with pytest.raises(VaultError):
        remote.get("../outside")
    (tmp_path / MARK).unlink()
    for ask in (lambda: remote.keys("n/"), lambda: remote.remove("n/"), lambda: remote.put("x", b"")):
        with pytest.raises(ArchiveError, match="not mounted"):
            ask()


# -- catalog ---------------------------------------------------------------------------------------------------------

FACTS = tuple(SegmentFact(n, n * 10, 10, "00" * 32, 5) for n in range(3))


def test_the_catalog_tells_only_of_what_arrived(tmp_path: Path) -> None:
    spool, call, recording = Spool(tmp_path / "archive"), uuid7(), uuid7()
    assert spool.facts(call, recording) == []
    assert list(spool.ids()) == []
    sent = Pack("000000-000001.tar", "11" * 32, 10, 5.0, FACTS[:2])
    spool.save(call, recording, [sent, Pack("000002-000002.tar", "22" * 32, 10, 0, FACTS[2:])])
    assert spool.facts(call, recording) == list(FACTS[:2])
    assert spool.packs(call, recording)[0] == sent
    assert list(spool.ids()) == [(call, recording)]
    spool.order_erasure(call, recording)
    assert spool.facts(call, recording) == []
    assert list(spool.ids()) == []
    assert [(one.call, one.recording) for one in spool.erasures()] == [(call, recording)]
    spool.erasure_done(call, recording)
    assert spool.erasures() == []
    assert list(spool.ids()) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"v": 2, "packs": []}', '{"v": 1, "packs": [[1]]}'])
def test_a_catalog_entry_that_is_none_is_damage_and_not_silence(tmp_path: Path, text: str) -> None:
    spool, call, recording = Spool(tmp_path / "archive"), uuid7(), uuid7()
    spool.save(call, recording, [])
    (tmp_path / f"archive/catalog/{call}/{recording}.json").write_text(text)
    with pytest.raises(Damaged, match="catalog"):
        spool.facts(call, recording)


def test_what_was_left_half_written_is_tidied_and_orders_being_written_are_not(tmp_path: Path) -> None:
    spool, call, recording = Spool(tmp_path / "archive"), uuid7(), uuid7()
    spool.save(call, recording, [])
    spool.order_erasure(uuid7(), uuid7())
    entry = tmp_path / f"archive/catalog/{call}/.{recording}.json.assent-part-00000000"
    fresh, stale = (tmp_path / f"archive/erase/.{n}.assent-part-00000000" for n in ("a", "b"))
    for path in (entry, fresh, stale):
        path.write_bytes(b"")
    os.utime(stale, (1, 1))
    spool.tidy(time.time())
    assert [path.exists() for path in (entry, fresh, stale)] == [False, True, False]
    assert len(spool.erasures()) == 1
    assert spool.strays() == []


def test_ids_are_ids(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for call, recording in (("..", uuid7()), (uuid7(), "../../x")):
        with pytest.raises(VaultError, match="is not an id"):
            spool.save(call, recording, [])
        with pytest.raises(VaultError, match="is not an id"):
            spool.order_erasure(call, recording)
