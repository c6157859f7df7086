# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings in a bucket, over HTTP, with a real S3 server: moved, read, verified, erased."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from archive_kit import archived, exported, findings, hashes, local, move, s3_node, settled, status
from ivr.node.archive import node_name
from ivr.vault import archiver
from store_kit import BUCKET, S3Server, Wire, s3_server, wire


@pytest.fixture(scope="module")
def store() -> Iterator[S3Server]:
    with s3_server() as server:
        server.bucket()
        server.bucket(versions=True, name="versioned")
        yield server


@pytest.fixture
def line(store: S3Server) -> Iterator[Wire]:
    with wire(store) as relay:
        yield relay


def mine(store: S3Server, prefix: str, bucket: str = BUCKET) -> dict[str, bytes]:
    return {key: data for key, data in store.objects(bucket).items() if key.startswith(f"{prefix}/")}


def test_recordings_move_and_can_be_read_verified_and_listed(store: S3Server, line: Wire, tmp_path: Path) -> None:
    node = s3_node(tmp_path, line.url, "all")
    first, second = node.call(seconds=6, seed=1), node.call(seconds=2, seed=5)
    before, wav = hashes(node), exported(node, first, tmp_path / "before.wav")
    assert len(before) >= 6
    settled(node)
    assert status(node)["waiting_segments"] == len(before)
    move(node)
    assert local(node) == []
    assert archived(node) == before
    assert {key.split("/")[1] for key in mine(store, "all")} == {node_name(node.settings)}
    assert exported(node, first, tmp_path / "after.wav") == wav
    assert findings(node) == []
    assert node.ivr("log", "verify").exit_code == 0
    rows = json.loads(node.ivr("recording", "list", "--json").stdout)
    assert {row["recording"]: row["archived"] for row in rows} == {
        one.recording: sum(name.startswith(one.recording) for name in before) for one in (first, second)
    }
    shown = json.loads(node.ivr("recording", "show", second.recording, "--json").stdout)
    assert [one["log"] for one in shown["segments"]] == ["ok"] * len(shown["segments"])
    found = status(node)
    assert (found["waiting_segments"], found["archived_recordings"], found["error"]) == (0, 2, None)


def test_only_sealed_bytes_leave_the_machine(store: S3Server, line: Wire, tmp_path: Path) -> None:
    node = s3_node(tmp_path, line.url, "sealed")
    node.call(seconds=3)
    settled(node)
    sealed = [path.read_bytes() for path in local(node)]
    move(node)
    (pack,) = mine(store, "sealed").values()
    assert all(one in pack for one in sealed)
    assert all(one.startswith(b"age-encryption.org/") for one in sealed)
    assert pack.count(b"age-encryption.org/v1") == len(sealed)
    assert not any(magic in pack for magic in (b"fLaC", b"RIFF", b"AGE-SECRET-KEY"))


def test_a_young_segment_stays(line: Wire, tmp_path: Path) -> None:
    node = s3_node(tmp_path, line.url, "young")
    node.call(seconds=3)
    before = hashes(node)
    move(node)
    assert hashes(node) == before
    assert archived(node) == {}


def test_a_store_that_is_away_costs_nothing_and_is_caught_up_with(line: Wire, tmp_path: Path) -> None:
    node = s3_node(tmp_path, line.url, "away")
    calls = [node.call(seconds=2, seed=seed) for seed in range(3)]
    before = hashes(node)
    settled(node, 3 * 86400)
    line.cut()
    done = node.ivr("archive", "run", "--once")
    assert done.exit_code == 1
    assert "cannot reach the store" in done.output
    assert hashes(node) == before
    found = status(node)
    assert found["error_kind"] == "archive-away"
    assert found["oldest_waiting_s"] > 2 * 86400
    assert any("a segment waits" in alarm for alarm in found["alarms"])
    assert json.loads(node.ivr("recording", "list", "--json").stdout)[0]["recording"] == calls[0].recording
    line.join()
    move(node)
    assert archived(node) == before
    assert local(node) == []
    assert status(node)["error"] is None


def test_what_is_only_in_the_archive_is_missed_loudly_while_it_is_away(line: Wire, tmp_path: Path) -> None:
    node = s3_node(tmp_path, line.url, "unread")
    call = node.call(seconds=2)
    settled(node)
    move(node)
    line.cut()
    assert len(json.loads(node.ivr("recording", "list", "--json").stdout)) == 1
    assert node.ivr("recording", "show", call.recording).exit_code == 2
    verified = node.ivr("log", "verify")
    assert verified.exit_code == 2
    assert "the archive cannot be read" in verified.output
    unread = node.ivr("log", "verify", "--no-archive")
    assert unread.exit_code == 0
    assert "those in the archive not read" in unread.output
    assert json.loads(node.ivr("log", "verify", "--no-archive", "--json").stdout)["archive_read"] is False
    assert "file-missing" not in node.ivr("log", "watch", "--once").output


def test_a_connection_that_breaks_in_an_upload_leaves_nothing_behind(
    store: S3Server, line: Wire, tmp_path: Path
) -> None:
    node = s3_node(tmp_path, line.url, "broken")
    node.call(seconds=8)
    before = hashes(node)
    settled(node)
    line.limit = 40_000
    assert node.ivr("archive", "run", "--once").exit_code == 1
    assert hashes(node) == before
    assert mine(store, "broken") == {}
    line.limit = None
    move(node)
    assert archived(node) == before
    assert local(node) == []


def test_a_long_recording_is_moved_in_parts(
    store: S3Server, line: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiver, "PACK_BYTES", 100_000)
    node = s3_node(tmp_path, line.url, "parts")
    call = node.call(seconds=12)
    before, wav = hashes(node), exported(node, call, tmp_path / "before.wav")
    settled(node)
    move(node)
    assert len(mine(store, "parts")) > 2
    assert archived(node) == before
    assert exported(node, call, tmp_path / "after.wav") == wav
    assert findings(node) == []


def test_a_changed_object_is_named(store: S3Server, line: Wire, tmp_path: Path) -> None:
    node = s3_node(tmp_path, line.url, "changed")
    call = node.call(seconds=6)
    settled(node)
    move(node)
    ((key, pack),) = mine(store, "changed").items()
    third = pack.index(b"000002-") + 512 + 400
    spoilt = pack[:third] + bytes([pack[third] ^ 1]) + pack[third + 1 :]
    store.client().put_object(Bucket=BUCKET, Key=key, Body=spoilt)
    verified = node.ivr("log", "verify")
    assert verified.exit_code == 1
    (line_,) = [one for one in verified.output.splitlines() if "segment" in one]
    assert "segment 2 is not what was logged" in line_
    assert call.recording in line_
    assert "000002-" in line_
    shown = node.ivr("recording", "show", call.recording)
    assert shown.exit_code == 1
    assert "segment 2: changed" in shown.output
    with node.serving():
        refused = node.by_officer("recording", "export", call.recording, "--output", str(tmp_path / "out.wav"))
    assert refused.exit_code == 1
    assert not (tmp_path / "out.wav").exists()


def test_an_object_that_is_gone_or_strange_is_named(store: S3Server, line: Wire, tmp_path: Path) -> None:
    node = s3_node(tmp_path, line.url, "gone")
    call = node.call(seconds=2)
    settled(node)
    move(node)
    ((key, pack),) = mine(store, "gone").items()
    client = store.client()
    client.put_object(Bucket=BUCKET, Key=key, Body=pack[:700])
    assert any("cannot be read" in one or "is not on disk" in one for one in findings(node))
    assert node.ivr("recording", "show", call.recording).exit_code == 1
    client.delete_object(Bucket=BUCKET, Key=key)
    assert any("is not on disk" in one for one in findings(node))
    client.put_object(Bucket=BUCKET, Key=key, Body=pack)
    assert findings(node) == []
    stray = key.replace(call.recording, "00000000-0000-7000-8000-000000000000")
    client.put_object(Bucket=BUCKET, Key=stray, Body=pack)
    client.put_object(Bucket=BUCKET, Key=f"gone/{node_name(node.settings)}/notes.txt", Body=b"?")
    assert sorted("belongs to no event" in one for one in findings(node)) == [True, True]


def test_two_nodes_in_one_bucket_see_their_own(store: S3Server, line: Wire, tmp_path: Path) -> None:
    one, two = s3_node(tmp_path / "1", line.url, "two"), s3_node(tmp_path / "2", line.url, "two")
    first, second = one.call(seconds=2, seed=1), two.call(seconds=2, seed=9)
    of_one, of_two = hashes(one), hashes(two)
    for node in (one, two):
        settled(node)
        move(node)
    assert len(mine(store, "two")) == 2
    assert (archived(one), archived(two)) == (of_one, of_two)
    assert (findings(one), findings(two)) == ([], [])
    with one.serving():
        assert one.by_officer("erase", "--recording", first.recording).exit_code == 0
    move(one)
    assert archived(one) == {}
    assert archived(two) == of_two
    assert exported(two, second, tmp_path / "second.wav")
    assert findings(two) == []
