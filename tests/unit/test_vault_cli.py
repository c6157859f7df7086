# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr recording` on a real server's folder: data on stdout, verdict in the exit code."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
import soundfile
from click.testing import CliRunner, Result

import rights_kit
from ivr.cli import main
from ivr.ledger.ids import uuid7
from ivr.ledger.keyring import KeyRing
from ivr.ledger.keys import create_keys
from ivr.ledger.log import Entry, Log
from ivr.ledger.people import Role, person_of
from ivr.vault.errors import Damaged
from ivr.vault.logged import logged
from ivr.vault.sealing import load_identities
from ivr.vault.segments import SegmentFact
from ivr.vault.writer import RecordingSummary, RecordingWriter
from vault_kit import Vault, feed, noise, permit, vault

RATE = 8000


@dataclass(frozen=True)
class Server:
    """A server's folder with one finished recording, logged."""

    folder: Path
    box: Vault
    kept: RecordingSummary

    def ivr(self, *args: str) -> Result:
        if "--identity" in args and "--reason" not in args:
            args = (*args, "--reason", "a test")
        return CliRunner().invoke(main, [*args, "--config", str(self.folder)])

    @property
    def files(self) -> list[Path]:
        return sorted(self.box.store.folder(self.kept.call, self.kept.recording).iterdir())


def stopped(kept: RecordingSummary, segments: Sequence[SegmentFact]) -> Entry:
    data = {
        "recording": kept.recording,
        "number": 1,
        "reason": kept.reason,
        "rate": kept.rate,
        "samples": kept.samples,
        "spans": [[span.start, span.samples, span.at_ms] for span in kept.spans],
        "segments": [asdict(segment) for segment in segments],
        "erased": False,
        "at_ms": 9000,
    }
    return Entry("recording.stopped", kept.call, data)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "server"
    box = vault(folder / "data")
    (folder / "server.yaml").write_text("sip: {port: 5070}\n")
    (folder / "keys").mkdir()
    key = create_keys(folder / "keys", "test.example/log")
    writer = RecordingWriter(permit(), box.store, RATE, at_ms=2500)
    feed(writer, noise(4 * RATE, 1), noise(4 * RATE, 2))
    kept = writer.finish("hangup").result(20)
    log = Log.create(folder / "data" / "log.sqlite", key, b"p" * 32)
    log.append([stopped(kept, kept.segments)])
    log.close()
    secret = box.officer.read_text().splitlines()[-1]
    officer = person_of("officer", Role.OFFICER, secret, str(load_identities(box.officer)[0].to_public()))
    (folder / "keys/people.txt").write_text(f"{officer.line()}\n")
    (folder / "data/subjects").mkdir()
    with rights_kit.Server(folder).serving():
        yield Server(folder, box, kept)


def test_list_and_show_for_programs(server: Server) -> None:
    listed = server.ivr("recording", "list", "--json")
    assert listed.exit_code == 0, listed.output
    (row,) = json.loads(listed.stdout)
    assert row["recording"] == server.kept.recording
    assert (row["seconds"], row["key"], row["ended"]) == (4.0, True, "hangup")
    shown = server.ivr("recording", "show", server.kept.recording[:13], "--identity", str(server.box.officer), "--json")
    assert shown.exit_code == 0, shown.output
    facts = json.loads(shown.stdout)
    assert [segment["log"] for segment in facts["segments"]] == ["ok"] * len(server.kept.segments)
    assert facts["contents"]["spans"] == [{"at_ms": 2500, "start": 0, "samples": 4 * RATE}]
    assert -6 < facts["contents"]["caller"]["peak_db"] < -4


def test_list_and_show_for_people(server: Server) -> None:
    listed = server.ivr("recording", "list")
    assert server.kept.recording in listed.stdout
    assert "0:04.000" in listed.stdout
    shown = server.ivr("recording", "show", server.kept.recording)
    assert shown.exit_code == 0
    assert "hashes     ok" in shown.stdout
    assert "caller" not in shown.stdout  # no levels without the identity
    assert (
        "caller     peak"
        in server.ivr("recording", "show", server.kept.recording, "--identity", str(server.box.officer)).stdout
    )


@pytest.mark.parametrize(("harm", "said"), [("change", "segment 1: changed"), ("remove", "segment 1: missing")])
def test_show_says_what_is_not_as_logged(server: Server, harm: str, said: str) -> None:
    victim = server.files[1]
    if harm == "change":
        victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    else:
        victim.unlink()
    shown = server.ivr("recording", "show", server.kept.recording)
    assert shown.exit_code == 1
    assert said in shown.stdout
    out = server.folder / "out.wav"
    exported = server.ivr(
        "recording", "export", server.kept.recording, "--identity", str(server.box.officer), "--output", str(out)
    )
    assert exported.exit_code == 1
    assert not out.exists()


def test_a_missing_end_is_found_by_the_log_alone(server: Server) -> None:
    server.files[-1].unlink()
    last = len(server.kept.segments) - 1
    shown = server.ivr("recording", "show", server.kept.recording)
    assert shown.exit_code == 1
    assert f"segment {last}: missing" in shown.stdout


def test_export_writes_once(server: Server) -> None:
    out = server.folder / "out.flac"
    args = ["recording", "export", server.kept.recording, "--identity", str(server.box.officer), "--format", "flac"]
    args += ["--output", str(out)]
    first = server.ivr(*args)
    assert (first.exit_code, first.stdout) == (0, "")
    assert soundfile.info(str(out)).frames == 4 * RATE
    again = server.ivr(*args)
    assert again.exit_code == 2
    assert "exists already" in again.stderr
    assert server.ivr(*args, "--force").exit_code == 0


def test_what_cannot_run_says_why(server: Server, tmp_path: Path) -> None:
    (tmp_path / "other.age").write_text("AGE-SECRET-KEY-1NONSENSE\n")
    bad_key = server.ivr("recording", "show", server.kept.recording, "--identity", str(tmp_path / "other.age"))
    assert bad_key.exit_code == 2
    assert "other.age:1" in bad_key.stderr
    unknown = server.ivr("recording", "show", "ffff")
    assert unknown.exit_code == 2
    assert "no recording begins so" in unknown.stderr
    server.box.store.erase(server.kept.call, server.kept.recording)
    assert server.ivr("recording", "list", "--json").stdout.strip() == "[]"
    (server.folder / "server.yaml").unlink()
    nothing = server.ivr("recording", "list")
    assert nothing.exit_code == 2
    assert "ivr init" in nothing.stderr


def test_a_long_recording_may_be_logged_in_parts(tmp_path: Path) -> None:
    key = create_keys(tmp_path, "test.example/log")
    facts = [SegmentFact(n, n * 10, 10, f"{n:064x}", 1) for n in range(6)]
    kept = RecordingSummary(uuid7(), uuid7(), RATE, 50, (), (), "hangup")
    log = Log.create(tmp_path / "log.sqlite", key, b"p" * 32)
    part = {"recording": kept.recording, "segments": [asdict(fact) for fact in facts[:3]]}
    log.append([Entry("recording.sealed", kept.call, part)])
    assert logged(tmp_path / "log.sqlite", KeyRing((key.vkey,)), kept.recording) is None
    log.append([stopped(kept, facts[3:])])
    log.close()
    told = logged(tmp_path / "log.sqlite", KeyRing((key.vkey,)), kept.recording)
    assert told is not None
    assert told.segments == tuple(facts[:5]), "the last one is past what was kept: it was taken back"


def test_an_event_of_another_key_is_not_believed(server: Server, tmp_path: Path) -> None:
    other = create_keys(tmp_path, "test.example/log")
    with pytest.raises(Damaged, match="ivr log verify"):
        logged(server.folder / "data" / "log.sqlite", KeyRing((other.vkey,)), server.kept.recording)
