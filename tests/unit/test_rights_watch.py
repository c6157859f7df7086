# SPDX-License-Identifier: GPL-3.0-or-later
"""Alarms: each is raised by what it is for, and by nothing else."""

import json
import re
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ivr.audit.watch import Alarm
from ivr.ledger.ids import uuid7
from ivr.ledger.keys import load_vkey
from ivr.ledger.log import Entry, Log
from ivr.ledger.permit import verify_permit
from ivr.rights.view import event_time
from ivr.vault.writer import RecordingWriter
from rights_kit import Server, make_server, received
from vault_kit import feed, noise


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return make_server(tmp_path)


def alarms(server: Server) -> list[str]:
    done = server.ivr("log", "watch", "--once", "--json")
    found = [json.loads(line)["alarm"] for line in done.stdout.splitlines()]
    assert done.exit_code == (1 if found else 0), done.output
    return found


def test_all_is_well(server: Server) -> None:
    server.call()
    server.call(recorded=False)
    assert alarms(server) == []


def test_a_recording_without_permit(server: Server) -> None:
    call = uuid7()
    log = server.open_log()
    data = {"at_ms": 20, "recording": uuid7(), "number": 1, "rate": 8000, "recipient": "age1"}
    log.append([received(call, "anonymous"), Entry("recording.started", call, data)], checkpoint=True)
    log.close()
    assert alarms(server) == [Alarm.NO_PERMIT]


def withdrawn_while_opening(server: Server, ago: timedelta) -> tuple[str, str]:
    """A worker that died between a withdrawal that erases and the end of a recording; and a consent after that one."""
    call, moment = uuid7(), event_time(datetime.now(UTC) - ago)
    policy = {"policy_sha256": "sha256:00", "machine": 1, "policy": {"on_withdraw": "erase"}, "settings": {}}
    log = server.open_log(lambda: moment)
    log.append([received(call, "anonymous"), Entry("consent.asked", call, {"at_ms": 1, **policy})])
    first = lost(server, log, call, "consent.withdrawn")
    second = lost(server, log, call, "consent.decided")
    log.append([Entry("call.lost", call, {"at_ms": 9, "reason": "worker-lost"})], checkpoint=True)
    log.close()
    return first, second


def lost(server: Server, log: Log, call: str, then: str) -> str:
    data = {"at_ms": 10, "recording": uuid7(), "parties": ["caller", "agent-1"], "number": 1, "reason": "ok"}
    (ack,) = log.append([Entry("recording.permitted", call, data)])
    permit = verify_permit(ack.jws, load_vkey(server.folder / "keys"), call=call)
    log.append([Entry(then, call, {"at_ms": 11, "party": "caller", "source": "dtmf", "key": "9"})])
    writer = RecordingWriter(permit, server.store, 8000, at_ms=20)
    feed(writer, noise(8000, 1), noise(8000, 2))
    kept = [asdict(one) for one in writer.finish("lost").result(20).segments]
    data = {"at_ms": 12, "recording": permit.recording, "number": 1, "reason": "lost", "rate": 0, "spans": []}
    log.append([Entry("recording.stopped", call, {**data, "samples": 8000, "segments": kept, "erased": False})])
    return permit.recording


def test_a_withdrawal_that_came_while_the_recorder_was_opening(server: Server) -> None:
    first, second = withdrawn_while_opening(server, timedelta(hours=1))
    assert alarms(server) == [Alarm.ERASURE_OWED]
    with server.serving():
        assert server.ivr("retention", "run").exit_code == 0
    (erased,) = server.events("recording.erased")
    assert (erased.data["recording"], erased.data["reason"]) == (first, "withdrawn")
    assert server.store.key_file(second).exists()
    assert alarms(server) == []


def test_a_worker_may_take_a_moment_to_erase(server: Server) -> None:
    withdrawn_while_opening(server, timedelta())
    assert alarms(server) == []


def test_files_and_log_apart(server: Server) -> None:
    call = server.call()
    folder = server.store.folder(call.id, call.recording)
    first = sorted(folder.iterdir())[0]
    content = first.read_bytes()
    first.unlink()
    assert alarms(server) == [Alarm.FILE_MISSING]
    first.write_bytes(content)
    (folder / "stray").write_bytes(b"?")
    (server.settings.storage.recordings / "note.txt").write_text("?")
    assert alarms(server) == [Alarm.FILE_UNKNOWN] * 2
    (folder / "stray").unlink()
    (server.settings.storage.recordings / "note.txt").unlink()
    with server.serving():
        assert server.by_officer("erase", "--recording", call.recording).exit_code == 0
    folder.mkdir(parents=True)
    first.write_bytes(content)
    assert alarms(server) == [Alarm.NOT_ERASED]
    with server.serving():
        assert server.by_officer("erase", "--recording", call.recording).exit_code == 0
    assert alarms(server) == []


def test_a_recorder_that_opens_is_no_stray(server: Server) -> None:
    call, recording = uuid7(), uuid7()
    log = server.open_log()
    data = {"at_ms": 10, "recording": recording, "parties": ["caller"], "number": 1, "reason": "ok"}
    log.append([received(call, "anonymous"), Entry("recording.permitted", call, data)], checkpoint=True)
    log.close()
    folder = server.settings.storage.recordings / call / recording
    folder.mkdir(parents=True)
    (folder / "000000-000000000000-000000016000.flac.age").write_bytes(b"sealed")
    assert alarms(server) == []


def test_a_request_that_is_overdue(server: Server) -> None:
    day = str(datetime.now(UTC).date() - timedelta(days=40))
    ask = ("--identity", str(server.officer))
    with server.serving():
        opened = server.ivr("subject", "open", "--number", "+4930123456", "--received", day, "--json", *ask)
        request = json.loads(opened.stdout)["request"]
        assert alarms(server) == [Alarm.REQUEST_OVERDUE]
        args = ("--outcome", "refused", "--reason", "unknown person")
        assert server.ivr("subject", "close", request, *args, *ask).exit_code == 0
        assert alarms(server) == []


def test_a_checkpoint_that_is_late(server: Server) -> None:
    server.call(days_ago=1, recorded=False)
    log = server.open_log(lambda: "2026-01-01T00:00:00.000000Z")
    log.append([Entry("node.draining", None, {"reason": "test"})])
    log.close()
    # The log's clock never goes back: this event has the time of the call a day ago.
    assert alarms(server) == [Alarm.CHECKPOINT_LATE]


def gauges(server: Server) -> dict[str, int]:
    done = server.ivr("log", "watch", "--prometheus")
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith("\n")
    kinds: dict[str, str] = {}
    values: dict[str, int] = {}
    for line in done.stdout.splitlines():
        told = re.fullmatch(r"# (HELP|TYPE) (assent_[a-z_]+) (.+)", line)
        if told:
            assert told[1] == "HELP" or told[3] == "gauge"
            kinds[told[2]] = kinds.get(told[2], "") + told[1]
            continue
        sample = re.fullmatch(r'(assent_[a-z_]+)(?:\{alarm="([a-z-]+)"\})? ([0-9]+)', line)
        assert sample, line
        assert kinds[sample[1]] == "HELPTYPE"
        values[sample[2] or sample[1]] = int(sample[3])
    return values


def test_gauges_for_prometheus(server: Server) -> None:
    call = server.call()
    before = int(time.time())
    found = gauges(server)
    assert before <= found.pop("assent_watch_time_seconds") <= time.time()
    assert found == {str(alarm): 0 for alarm in Alarm}
    folder = server.store.folder(call.id, call.recording)
    for name in ("stray", "another"):
        (folder / name).write_bytes(b"?")
    sorted(folder.glob("*.flac.age"))[0].unlink()
    found = gauges(server)
    found.pop("assent_watch_time_seconds")
    expected = {Alarm.FILE_UNKNOWN: 2, Alarm.FILE_MISSING: 1}
    assert found == {str(alarm): expected.get(alarm, 0) for alarm in Alarm}


def test_no_gauges_of_what_could_not_be_read(server: Server) -> None:
    server.settings.storage.database.rename(server.settings.storage.database.with_suffix(".away"))
    done = server.ivr("log", "watch", "--prometheus")
    assert (done.exit_code, done.stdout) == (2, "")


def test_gauges_or_json(server: Server) -> None:
    done = server.ivr("log", "watch", "--prometheus", "--json")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "choose one" in done.stderr
