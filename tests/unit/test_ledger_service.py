# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger over its real socket: order, durability, refusals, lost workers, clean and unclean stops."""

import asyncio
import os
import stat
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from ivr.audit.source import LogSource
from ivr.audit.timeline import headline
from ivr.ledger import canonical
from ivr.ledger.access import Access
from ivr.ledger.askstats import ask_stats
from ivr.ledger.client import LedgerClient, LedgerRefused, LedgerUnavailable
from ivr.ledger.errors import LedgerFatal, LedgerMissing
from ivr.ledger.event import MAX_DATA, peek
from ivr.ledger.ids import uuid7
from ivr.ledger.log import Entry
from ivr.ledger.permit import verify_permit
from ivr.ledger.protocol import CLOSED, Ack, Unpacker, closed, pack
from ivr.ledger.query import LogReader
from ivr.ledger.tool import LedgerTool
from ivr.rights.view import look
from ledger_kit import (
    CALL,
    RECORDING,
    Home,
    ended,
    joined,
    make_home,
    message,
    permitted,
    received,
    serving,
    started,
    stopped,
    types,
    until,
    write_segments,
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 30))


def send(client: LedgerClient, entry: Entry, *, queue: bool = True) -> "asyncio.Future[Ack]":
    return client.append(entry.type, call=entry.call, data=entry.data, personal=entry.personal, queue=queue)


def events(home: Home, kind: str) -> list[Any]:
    with LogSource(home.db) as source:
        return [peek(row.jws) for row in source.rows() if row.type == kind]


def test_a_call_is_logged_in_order_and_verifies(home: Home) -> None:
    async def test() -> None:
        async with serving(home):
            client = await LedgerClient.connect(home.socket, "worker-1")
            entries = [received(), *(joined(at_ms=n) for n in range(50)), permitted(), ended()]
            acks = await asyncio.gather(*(send(client, entry) for entry in entries))
            assert [ack.seq for ack in acks] == list(range(acks[0].seq, acks[0].seq + len(entries)))
            permit = verify_permit(acks[-2].jws, home.vkey, call=CALL)
            assert (permit.recording, permit.parties) == (RECORDING, ("caller",))
            await client.close()

    run(test())
    assert home.verify() == []
    assert types(home)[:5] == ["log.created", "key.added", "node.started", "worker.joined", "call.received"]
    assert types(home)[-1] == "node.stopped"


def test_an_acknowledged_event_is_on_disk(home: Home) -> None:
    async def test() -> None:
        async with serving(home):
            client = await LedgerClient.connect(home.socket, "worker-1")
            ack = await send(client, received())
            assert home.run("SELECT id FROM events WHERE seq = ?", ack.seq) == [(ack.id,)]
            await client.close()

    run(test())


def test_a_stop_in_order_ends_with_a_checkpoint_over_everything(home: Home) -> None:
    async def test() -> None:
        async with serving(home):
            client = await LedgerClient.connect(home.socket, "worker-1")
            await send(client, received())
            await send(client, ended())
            await client.close()

    run(test())
    report = home.report()
    assert (report.sealed, report.findings) == (report.events, [])
    assert not home.socket.exists()


def test_checkpoints_are_made_every_n_events(home: Home) -> None:
    async def test() -> None:
        async with serving(home, checkpoint_events=10):
            client = await LedgerClient.connect(home.socket, "worker-1")
            await send(client, received())
            for n in range(40):
                await send(client, joined(at_ms=n))
            await client.close()

    run(test())
    assert home.report().checkpoints >= 5


def test_checkpoints_are_made_after_a_time(home: Home) -> None:
    async def test() -> None:
        async with serving(home, checkpoint_seconds=0.0):
            await until(lambda: home.report().sealed == 3, "a checkpoint without further events")

    run(test())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"type": "call.imagined"}, "unknown event type"),
        ({"type": None}, "unknown event type"),
        ({"type": "call.lost"}, "ledger only"),
        ({"call": None}, "names none"),
        ({"call": "42"}, "UUIDv7"),
        ({"id": "42"}, "UUIDv7"),
        ({"data": {"at_ms": 5}}, "missing in data: party"),
        ({"data": {"at_ms": 5, "party": "caller", "number": "1"}}, "unknown in data: number"),
        ({"data": {"at_ms": 1.5, "party": "caller"}}, "float"),
        ({"data": {"at_ms": -1, "party": "caller"}}, "at_ms"),
        ({"data": {"at_ms": 5, "party": "x" * 47_000}}, "split it"),
        ({"data": {"at_ms": 5, "party": {"ä": 1}}}, "ASCII"),
        ({"data": {"at_ms": 5, "party": [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]}}, "nested"),
        ({"data": [1]}, "objects"),
        ({"personal": {"party": "x"}}, "unknown in personal: party"),
    ],
)
def test_wrong_events_are_refused_with_the_reason(home: Home, change: dict[str, Any], said: str) -> None:
    async def test() -> None:
        async with serving(home):
            reader, writer = await hello(home)
            writer.write(pack(message(received(), 1)) + pack(message(joined(), 2) | change))
            first, second = await answers(reader, 2)
            assert sorted((first["op"], second["op"])) == ["ack", "refused"]
            refusal = first if first["op"] == "refused" else second
            assert said in refusal["message"]
            writer.close()
            await writer.wait_closed()

    run(test())
    assert "party.joined" not in types(home)
    assert home.verify() == []


def test_the_largest_event_that_is_accepted_can_be_signed(home: Home) -> None:
    party = "x" * (MAX_DATA - len(canonical.dumps({"at_ms": 5, "party": ""})))
    home.append([received(), Entry("party.joined", CALL, {"at_ms": 5, "party": party}, {"address": "x" * 100_000})])
    assert home.verify() == []


async def hello(home: Home, worker: str = "w") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(str(home.socket))
    writer.write(pack({"op": "hello", "v": 1, "worker": worker, "role": "tool", "live": []}))
    assert (await answers(reader, 1))[0]["op"] == "welcome"
    return reader, writer


async def answers(reader: asyncio.StreamReader, count: int) -> list[dict[str, Any]]:
    unpacker, found = Unpacker(), list[dict[str, Any]]()
    while len(found) < count:
        data = await reader.read(65536)
        if not data:
            raise ConnectionError(f"closed after {len(found)} of {count}")
        found += unpacker.feed(data)
    return found


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\x00\x00\x05nojsn",
        b"\xff\xff\xff\xff",
        pack({"op": "append", "n": 1}),
        pack({"op": "hello", "v": 2, "worker": "w", "role": "worker", "live": []}),
        pack({"op": "hello", "v": 1, "worker": "", "role": "worker", "live": []}),
        pack({"op": "hello", "v": 1, "worker": "w", "role": "king", "live": []}),
        b"\x00\x00\x00\x02[]",
    ],
)
def test_whoever_does_not_speak_the_protocol_is_disconnected(home: Home, raw: bytes) -> None:
    async def test() -> None:
        async with serving(home):
            reader, writer = await asyncio.open_unix_connection(str(home.socket))
            writer.write(raw)
            (refused,) = Unpacker().feed(await reader.read())
            assert (refused["op"], refused["n"]) == ("refused", 0)
            assert refused["message"]
            writer.close()
            await writer.wait_closed()
            _, again = await hello(home)
            again.close()
            await again.wait_closed()

    run(test())


def test_the_socket_is_for_its_group_only(home: Home) -> None:
    async def test() -> None:
        async with serving(home):
            assert stat.S_IMODE(home.socket.stat().st_mode) == 0o660

    run(test())


def test_who_may_connect() -> None:
    me = os.geteuid()
    assert Access().allows(me, 12345)
    assert not Access().allows(me + 1, 12345)
    assert Access(uids=frozenset({me + 1})).allows(me + 1, 12345)
    assert Access(gids=frozenset({12345})).allows(me + 1, 12345)
    assert not Access(uids=frozenset({me + 1}), gids=frozenset({12345})).allows(me + 2, 12346)
    assert Access().allows(0, 0)


def test_a_worker_is_no_tool_and_a_tool_is_no_worker_whatever_they_say() -> None:
    me = os.geteuid()
    worker, desk = me + 1, me + 2
    access = Access(frozenset({worker}), frozenset({12345}))
    assert access.works(me)
    assert access.works(worker)
    assert not access.works(desk)
    for kind in ("call.received", "recording.permitted", "consent.decided"):
        assert access.admits(worker, kind)
        assert not access.admits(desk, kind)
    for kind in ("retention.applied", "recording.accessed", "subject.find"):
        assert not access.admits(worker, kind)
        assert access.admits(desk, kind)
    for kind in ("call.received", "retention.applied", "recording.erased"):
        assert access.admits(me, kind)
    assert access.admits(worker, "recording.erased")
    assert access.admits(desk, "recording.erased")


def test_the_service_asks_who_a_peer_is_before_it_believes_a_role(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with serving(home):
            client = await LedgerClient.connect(home.socket, "worker-1")
            monkeypatch.setattr(Access, "admits", lambda _self, _uid, kind: kind != "call.received")
            with pytest.raises(LedgerRefused, match="not for this user"):
                await send(client, received())
            await client.close()
            monkeypatch.setattr(Access, "works", lambda *_: False)
            monkeypatch.setattr(Access, "allows", lambda *_: True)
            with pytest.raises(LedgerUnavailable, match=r"no ledger at .* refuses: its user may not be a worker"):
                await LedgerClient.connect(home.socket, "worker-2")
            _, tool = await hello(home)
            tool.close()
            await tool.wait_closed()

    run(test())
    assert "its user may not be a worker" in caplog.text


def test_a_peer_that_is_not_allowed_is_disconnected(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with serving(home):
            monkeypatch.setattr(Access, "allows", lambda *_: False)
            why = f"refuses: uid {os.getuid()} with primary group {os.getgid()} may not use this ledger"
            for _ in range(10):  # what it sends may meet a connection that is closed already
                with pytest.raises(LedgerUnavailable, match=why):
                    await LedgerClient.connect(home.socket, "worker-1")
                with pytest.raises(LedgerUnavailable, match=why):
                    await ask_stats(home.socket, name="top", within_s=5)
                with pytest.raises(LedgerUnavailable, match=f"{why}.* Nothing was done"):
                    await asyncio.to_thread(LedgerTool, home.socket, "watch")

            def too_late(*_: object) -> None:
                raise BrokenPipeError

            monkeypatch.setattr(LedgerTool, "_send", too_late)
            with pytest.raises(LedgerUnavailable, match=why):
                await asyncio.to_thread(LedgerTool, home.socket, "watch")

    run(test())
    assert "worker.joined" not in types(home)


def test_a_ledger_that_ends_without_a_word_is_a_reason_too(tmp_path: Path) -> None:
    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async def test() -> None:
        path = tmp_path / "s"
        async with await asyncio.start_unix_server(hang_up, str(path)):
            with pytest.raises(LedgerUnavailable, match="without a word; its own lines say why"):
                await LedgerClient.connect(path, "worker-1")
            with pytest.raises(LedgerUnavailable, match="without a word; its own lines say why"):
                await ask_stats(path, name="top", within_s=5)
            with pytest.raises(LedgerUnavailable, match="without a word; its own lines say why"):
                await asyncio.to_thread(LedgerTool, path, "watch")

    run(test())
    assert closed(ConnectionResetError()) == CLOSED
    assert closed(OSError()) == "OSError"


def test_no_ledger_no_connection(tmp_path: Path) -> None:
    async def test() -> None:
        with pytest.raises(LedgerUnavailable, match="no ledger at"):
            await LedgerClient.connect(tmp_path / "none", "worker-1")

    run(test())


def test_a_lost_worker_loses_its_calls_and_only_those(home: Home) -> None:
    facts = write_segments(home)

    async def test() -> None:
        other = uuid7()
        async with serving(home, lambda call, recording: facts if (call, recording) == (CALL, RECORDING) else []):
            one = await LedgerClient.connect(home.socket, "worker-1")
            two = await LedgerClient.connect(home.socket, "worker-2")
            await send(two, received(other))
            for entry in (received(), permitted(), started()):
                await send(one, entry)
            await one.close()
            await until(lambda: "worker.left" in types(home), "worker.left")
            await send(two, ended(other))
            await two.close()

    run(test())
    lost = types(home)[types(home).index("recording.started") + 1 :]
    assert lost[:3] == ["recording.stopped", "call.lost", "worker.left"]
    (stop,) = events(home, "recording.stopped")
    assert (stop.data["reason"], stop.data["samples"], stop.data["segments"]) == ("lost", 48000, facts)
    assert [event.call for event in events(home, "call.lost")] == [CALL]
    assert home.verify(files=True) == []


@pytest.mark.parametrize("segments", [3, 600])
def test_segments_of_a_recording_that_never_said_it_started_are_accounted_for(home: Home, segments: int) -> None:
    facts = write_segments(home, segments)
    home.append([received(), permitted()], checkpoint=False)

    async def test() -> None:
        async with serving(home, lambda *_: facts, start_grace_seconds=0.1):
            await until(lambda: "call.lost" in types(home), "call.lost")

    run(test())
    stop = events(home, "recording.stopped")[0].data
    assert (stop["reason"], stop["number"], stop["rate"], stop["samples"]) == ("lost", 1, 0, 16000 * segments)
    assert home.verify(files=True) == []
    with LogReader(home.db) as log:
        found = look(log).recordings[RECORDING]
        assert headline((e.type, e.data) for e in log.events(CALL)).startswith("RECORDED:")
        assert log.calls()[0].recorded
    # So that retention and a person's erasure reach it.
    assert (found.call, found.stopped) == (CALL, events(home, "recording.stopped")[0].time)


def test_a_permit_whose_recorder_kept_nothing_leaves_no_trace_of_a_recording(home: Home) -> None:
    other, recording = uuid7(), uuid7()

    async def test() -> None:
        async with serving(home):
            client = await LedgerClient.connect(home.socket, "worker-1")
            for entry in (received(), permitted(), received(other), permitted(other, recording), ended(other)):
                await send(client, entry)
            with pytest.raises(LedgerRefused, match="has ended"):
                await send(client, joined(other))
            await client.close()
            await until(lambda: "worker.left" in types(home), "worker.left")
            late = await LedgerClient.connect(home.socket, "worker-2")
            with pytest.raises(LedgerRefused, match="is over"):
                await send(late, started(other, recording))
            await late.close()

    run(test())
    assert "recording.stopped" not in types(home)
    assert [event.call for event in events(home, "call.lost")] == [CALL]


def test_a_lost_call_whose_files_cannot_be_read_is_settled_at_the_next_start(home: Home) -> None:
    def broken(_call: str, _recording: str) -> list[Any]:
        raise OSError("the disk is on fire")

    async def lose() -> None:
        async with serving(home, broken):
            client = await LedgerClient.connect(home.socket, "worker-1")
            for entry in (received(), permitted(), started()):
                await send(client, entry)
            await client.close()
            await until(lambda: "worker.left" in types(home), "worker.left")

    async def settle() -> None:
        async with serving(home):
            await until(lambda: "call.lost" in types(home), "call.lost")

    run(lose())
    assert "call.lost" not in types(home)
    run(settle())
    assert home.verify() == []


def test_a_long_lost_recording_is_accounted_for_in_several_events(home: Home) -> None:
    facts = write_segments(home, 600)

    async def test() -> None:
        async with serving(home, lambda *_: facts):
            client = await LedgerClient.connect(home.socket, "worker-1")
            for entry in (received(), permitted(), started()):
                await send(client, entry)
            await client.close()
            await until(lambda: "call.lost" in types(home), "call.lost")

    run(test())
    assert types(home).count("recording.sealed") == 2
    assert home.verify(files=True) == []


def test_nothing_can_be_said_about_a_call_that_was_lost_or_has_ended(home: Home) -> None:
    async def test() -> None:
        async with serving(home):
            one = await LedgerClient.connect(home.socket, "worker-1")
            await send(one, received())
            await one.close()
            await until(lambda: "call.lost" in types(home), "call.lost")
            two = await LedgerClient.connect(home.socket, "worker-1")
            with pytest.raises(LedgerRefused) as refusal:
                await send(two, permitted(), queue=False)
            assert refusal.value.code == "call-closed"
            await two.close()

    run(test())
    assert "recording.permitted" not in types(home)


def test_a_worker_cannot_speak_for_the_call_of_another(home: Home) -> None:
    async def test() -> None:
        async with serving(home):
            one = await LedgerClient.connect(home.socket, "worker-1")
            two = await LedgerClient.connect(home.socket, "worker-2")
            await send(one, received())
            with pytest.raises(LedgerRefused) as refusal:
                await send(two, joined())
            assert refusal.value.code == "call-foreign"
            await send(one, ended())
            await one.close()
            await two.close()

    run(test())


def test_a_recording_that_outlives_its_call_can_still_stop(home: Home) -> None:
    facts = write_segments(home)

    async def test() -> None:
        async with serving(home):
            client = await LedgerClient.connect(home.socket, "worker-1")
            for entry in (received(), permitted(), started(), ended(), stopped(facts)):
                await send(client, entry)
            with pytest.raises(LedgerRefused):
                await send(client, joined())
            await client.close()

    run(test())
    assert home.verify(files=True) == []
    assert "call.lost" not in types(home)


def test_a_recorder_may_open_and_stop_after_its_call(home: Home) -> None:
    """Storage that hangs for longer than the rest of the call: what it keeps after all must not be out of reach."""
    facts = write_segments(home)
    data = {"at_ms": 9100, "recording": RECORDING, "reason": "withdrawn", "error": "VaultUnwritable"}
    not_erased = Entry("recording.not_erased", CALL, data)

    async def test() -> None:
        async with serving(home):
            client = await LedgerClient.connect(home.socket, "worker-1")
            for entry in (received(), permitted(), ended(), started(), stopped(facts), not_erased):
                await send(client, entry)
            with pytest.raises(LedgerRefused, match="is over"):
                await send(client, started())
            await client.close()

    run(test())
    assert home.verify(files=True) == []
    with LogReader(home.db) as log:
        found = look(log).recordings[RECORDING]
    assert found.stopped is not None
    assert found.owed is not None


@pytest.mark.parametrize("restarted", [False, True])
def test_a_recorder_that_was_lost_after_its_call_is_accounted_for(home: Home, restarted: bool) -> None:
    facts = write_segments(home)

    async def begin() -> None:
        async with serving(home, lambda *_: facts):
            client = await LedgerClient.connect(home.socket, "worker-1")
            for entry in (received(), permitted(), ended()):
                await send(client, entry)
            if not restarted:
                await client.close()
                await until(lambda: "worker.left" in types(home), "worker.left")
        await client.close()

    async def settle() -> None:
        async with serving(home, lambda *_: facts, start_grace_seconds=0.1):
            await until(lambda: "recording.stopped" in types(home), "recording.stopped")

    run(begin())
    assert ("recording.stopped" in types(home)) is not restarted
    run(settle())
    (stop,) = events(home, "recording.stopped")
    assert (stop.data["reason"], stop.data["segments"]) == ("lost", facts)
    assert "call.lost" not in types(home)
    assert all(event.data["calls_lost"] == 0 for event in events(home, "worker.left"))
    assert home.verify(files=True) == []


def test_a_worker_that_is_back_while_its_recordings_are_looked_at_keeps_its_calls(home: Home) -> None:
    looked, back = threading.Event(), threading.Event()

    def slow(_call: str, _recording: str) -> list[Any]:
        looked.set()
        back.wait(20)
        return []

    async def test() -> None:
        async with serving(home, slow):
            one = await LedgerClient.connect(home.socket, "worker-1")
            for entry in (received(), permitted(), started()):
                await send(one, entry)
            await one.close()
            await until(looked.is_set, "the recordings are looked at")
            two = await LedgerClient.connect(home.socket, "worker-2", live_calls=lambda: [CALL])
            back.set()
            await until(lambda: "worker.left" in types(home), "worker.left")
            await send(two, joined())
            await send(two, stopped([]))
            await send(two, ended())
            await two.close()

    run(test())
    assert "call.lost" not in types(home)
    assert len(events(home, "recording.stopped")) == 1
    assert events(home, "worker.left")[0].data["calls_lost"] == 0


def test_a_client_survives_a_restart_of_the_ledger_and_keeps_its_call(home: Home) -> None:
    async def test() -> None:
        states: list[bool] = []
        async with serving(home):
            client = await LedgerClient.connect(home.socket, "worker-1", live_calls=lambda: [CALL])
            client.on_state = states.append
            await send(client, received())
        await until(lambda: not client.connected, "the client notices")
        waiting = [send(client, joined(at_ms=n)) for n in range(5)]
        with pytest.raises(LedgerUnavailable):
            await send(client, permitted(), queue=False)
        async with serving(home, start_grace_seconds=1.0):
            acks = await asyncio.gather(*waiting)
            assert [ack.seq for ack in acks] == sorted(ack.seq for ack in acks)
            await send(client, ended())
            await client.close()
        assert states == [False, True]

    run(test())
    kinds = types(home)
    assert kinds.count("party.joined") == 5
    assert "call.lost" not in kinds
    assert "recording.permitted" not in kinds
    assert home.verify() == []


def test_calls_left_open_by_an_unclean_stop_are_lost_unless_claimed(home: Home) -> None:
    facts = write_segments(home)
    other = uuid7()
    home.append([received(), received(other), permitted(), started()], checkpoint=False)

    async def test() -> None:
        async with serving(home, lambda *_: facts, start_grace_seconds=0.3):
            client = await LedgerClient.connect(home.socket, "worker-1", live_calls=lambda: [other])
            await until(lambda: "call.lost" in types(home), "call.lost")
            await send(client, ended(other))
            await client.close()

    run(test())
    assert [event.call for event in events(home, "call.lost")] == [CALL]
    assert events(home, "call.lost")[0].data["reason"] == "ledger-restarted"
    assert home.verify(files=True) == []


def test_an_event_that_was_sent_again_is_in_the_log_once(home: Home) -> None:
    async def test() -> None:
        entry = joined()
        async with serving(home):
            reader, writer = await hello(home)
            writer.write(pack(message(received(), 1)) + pack(message(entry, 2)))
            writer.write(pack(message(entry, 3, again=True)) + pack(message(entry, 4)))
            found = {answer["n"]: answer for answer in await answers(reader, 4)}
            writer.write(pack(message(entry, 5, again=True)) + pack(message(entry, 6)))
            found |= {answer["n"]: answer for answer in await answers(reader, 2)}
            assert found[2]["seq"] == found[3]["seq"] == found[5]["seq"]
            assert [found[n]["op"] for n in (4, 6)] == ["refused", "refused"]
            writer.close()
            await writer.wait_closed()

    run(test())
    assert types(home).count("party.joined") == 1
    assert home.verify() == []


def rename_events(home: Home, was: str, becomes: str) -> None:
    home.run(f"ALTER TABLE {was} RENAME TO {becomes}")


def test_a_write_error_refuses_all_that_waits_and_ends_the_ledger(home: Home) -> None:
    async def test() -> None:
        async with serving(home):
            client = await LedgerClient.connect(home.socket, "worker-1")
            await send(client, received())
            # The store breaks under the writer: from here on no transaction succeeds.
            rename_events(home, "events", "gone")
            permit, later = send(client, permitted(), queue=False), send(client, joined())
            with pytest.raises(LedgerUnavailable, match="cannot be written"):
                await permit
            await until(lambda: not client.connected, "the ledger is gone")
            assert not later.done()
            await client.close(timeout=0.1)
            with pytest.raises(LedgerUnavailable):
                await later

    with pytest.raises(LedgerFatal, match="cannot be written"):
        run(test())
    rename_events(home, "gone", "events")
    assert home.verify() == []
    assert types(home)[-1] == "call.received"


def test_the_same_log_is_not_opened_twice(home: Home) -> None:
    log = home.open()
    with pytest.raises(LedgerMissing, match="in use"):
        home.open()
    log.close()


def test_the_clients_queue_is_bounded(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ivr.ledger.client.MAX_QUEUE", 3)

    async def test() -> None:
        async with serving(home):
            client = await LedgerClient.connect(home.socket, "worker-1")
        await until(lambda: not client.connected, "the client notices")
        waiting = [send(client, received(uuid7())) for _ in range(4)]
        with pytest.raises(LedgerUnavailable, match="wait"):
            await waiting[3]
        await client.close(timeout=0.05)
        with pytest.raises(LedgerUnavailable):
            await waiting[0]

    run(test())


def test_nothing_is_created_silently(home: Home, tmp_path: Path) -> None:
    for missing in (home.db, home.keys / "ledger.key", home.keys / "pseudonym.key", home.keys / "ledger.vkey"):
        content = missing.read_bytes()
        missing.unlink()
        with pytest.raises(LedgerMissing, match="ivr init"):
            home.open()
        assert not missing.exists()
        missing.write_bytes(content)
        missing.chmod(0o600)
    home.open().close()
