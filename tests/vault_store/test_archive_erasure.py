# SPDX-License-Identifier: GPL-3.0-or-later
"""Erasure and retention of recordings that are in a bucket: keys at once, objects and all their versions as soon as the
store can be reached."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from archive_kit import archived, exported, findings, local, move, s3_node, settled, status
from rights_kit import MadeCall, Server
from store_kit import BUCKET, S3Server, Wire, s3_server, wire


@pytest.fixture(scope="module")
def store() -> Iterator[S3Server]:
    with s3_server() as server:
        server.bucket(versions=True)
        yield server


@pytest.fixture
def line(store: S3Server) -> Iterator[Wire]:
    with wire(store) as relay:
        yield relay


def of(store: S3Server, prefix: str) -> list[str]:
    """Keys of every version that the store keeps."""
    return [key for key in store.versions() if key.startswith(f"{prefix}/")]


def erase(node: Server, call: MadeCall) -> None:
    with node.serving():
        done = node.by_officer("erase", "--recording", call.recording)
    assert done.exit_code == 0, done.output


def key_of(node: Server, call: MadeCall) -> Path:
    return node.settings.storage.keystore / f"{call.recording}.age"


def test_erasure_removes_every_version(store: S3Server, line: Wire, tmp_path: Path) -> None:
    node = s3_node(tmp_path, line.url, "versions")
    gone, kept = node.call(seconds=2), node.call(seconds=2, seed=9)
    settled(node)
    move(node)
    (key,) = [one for one in of(store, "versions") if gone.recording in one]
    client = store.client()
    client.put_object(Bucket=BUCKET, Key=key, Body=b"an older or newer version")
    client.delete_object(Bucket=BUCKET, Key=key)
    assert len([one for one in of(store, "versions") if gone.recording in one]) == 3
    erase(node, gone)
    move(node)
    assert not any(gone.recording in one for one in of(store, "versions"))
    assert any(kept.recording in one for one in of(store, "versions"))
    assert findings(node) == []
    assert status(node)["erasures_waiting"] == 0
    assert status(node)["total_erased"] == 1
    assert exported(node, kept, tmp_path / "kept.wav")


def test_erasure_while_the_store_is_away(store: S3Server, line: Wire, tmp_path: Path) -> None:
    node = s3_node(tmp_path, line.url, "later")
    call = node.call(seconds=3)
    settled(node)
    segments = len(local(node))
    move(node)
    line.cut()
    erase(node, call)
    # At once: the key, and with it every copy of the audio, and everything that names the recording here.
    assert not key_of(node, call).exists()
    assert json.loads(node.ivr("recording", "list", "--json").stdout) == []
    (event,) = node.events("recording.erased")
    assert (event.data["segments"], event.data["archived"]) == (0, segments)
    # Pending, and said so.
    assert node.ivr("archive", "run", "--once").exit_code == 1
    assert of(store, "later") != []
    found = status(node)
    assert (found["erasures_waiting"], found["error_kind"]) == (1, "archive-away")
    line.join()
    # The auditor sees that the store still has what the log calls erased.
    verified = node.ivr("log", "verify")
    assert verified.exit_code == 1
    assert "its key is gone, the archive still has this" in verified.output
    move(node)
    assert of(store, "later") == []
    assert status(node)["erasures_waiting"] == 0
    assert findings(node) == []


def test_retention_reaches_the_archive(store: S3Server, line: Wire, tmp_path: Path) -> None:
    node = s3_node(tmp_path, line.url, "retention")
    old, new = node.call(days_ago=40, told_days=30, seconds=2), node.call(seconds=2, seed=9)
    settled(node)
    move(node)
    with node.serving():
        assert node.ivr("retention", "run").exit_code == 0
    assert not key_of(node, old).exists()
    move(node)
    assert {key.split("/")[3] for key in of(store, "retention")} == {new.recording}
    assert findings(node) == []


def test_erasure_of_what_was_never_moved_leaves_nothing_to_do(store: S3Server, line: Wire, tmp_path: Path) -> None:
    node = s3_node(tmp_path, line.url, "never")
    call = node.call(seconds=2)
    erase(node, call)
    assert local(node) == []
    (event,) = node.events("recording.erased")
    assert "archived" not in event.data
    move(node)
    assert status(node)["erasures_waiting"] == 0
    assert of(store, "never") == []


def test_what_an_upload_left_that_was_cut_short_goes_too(store: S3Server, line: Wire, tmp_path: Path) -> None:
    """The object arrived, its confirmation did not, and then the recording was erased."""
    node = s3_node(tmp_path, line.url, "orphan")
    call = node.call(seconds=2)
    settled(node)
    move(node)
    entry = next((node.settings.folder / "data/archive/catalog").rglob("*.json"))
    entry.write_text(json.dumps({"v": 1, "packs": []}))
    erase(node, call)
    move(node)
    assert of(store, "orphan") == []


def test_a_lock_of_the_store_is_told_and_does_not_hold_up_others(
    store: S3Server, line: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """moto does not enforce object locks as a store does; so its refusal is put in where the answer is read."""
    node = s3_node(tmp_path, line.url, "locked")
    locked, other = node.call(seconds=2), node.call(seconds=2, seed=9)
    settled(node)
    move(node)
    later = node.call(seconds=2, seed=20)
    settled(node)
    for call in (locked, other):
        erase(node, call)
    from s3fs import S3FileSystem

    real = S3FileSystem.call_s3

    def refuse(self: object, method: str, *args: object, **kwargs: object) -> object:
        if method == "delete_objects" and locked.recording in str(kwargs):
            return {"Errors": [{"Key": "x", "Code": "AccessDenied"}]}
        return real(self, method, *args, **kwargs)

    monkeypatch.setattr(S3FileSystem, "call_s3", refuse)
    done = node.ivr("archive", "run", "--once")
    assert done.exit_code == 1
    assert "AccessDenied" in done.output
    assert {key.split("/")[3] for key in of(store, "locked")} == {locked.recording, later.recording}
    assert status(node)["erasures_waiting"] == 1
    assert {name.split("/")[0] for name in archived(node)} == {locked.recording, later.recording}
    monkeypatch.undo()
    move(node)
    assert {key.split("/")[3] for key in of(store, "locked")} == {later.recording}
