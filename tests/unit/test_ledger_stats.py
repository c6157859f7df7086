# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ledger counts: every durable event once, by words of ours, and nothing of what was refused."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from ivr.ledger.askstats import ask_stats
from ivr.ledger.catalogue import TYPES
from ivr.ledger.client import LedgerClient, LedgerRefused
from ivr.ledger.errors import LedgerUnavailable
from ivr.ledger.log import Entry
from ivr.ledger.protocol import VERSION, Unpacker, pack
from ivr.ledger.stats import COUNTED, MAX_SERIES, OTHER, LedgerStats
from ledger_kit import CALL, ended, make_home, message, permitted, received, serving, started, types, until


def counts(stats: dict[str, Any], name: str) -> dict[tuple[str, ...], int]:
    return {tuple(key): n for key, n in stats["counts"][name]}


def counted(*entries: Entry) -> dict[str, Any]:
    stats = LedgerStats()
    for entry in entries:
        stats.durable(entry, 0.004)
    return stats.as_json()


def test_what_is_counted_exists_in_the_catalogue() -> None:
    for kind, one in COUNTED.items():
        assert set(one.fields) <= set(TYPES[kind].data), kind


def test_labels_of_one_counter_are_alike() -> None:
    widths: dict[str, set[int]] = {}
    for one in COUNTED.values():
        widths.setdefault(one.name, set()).add(len(one.fixed) + len(one.fields))
    assert all(len(found) == 1 for found in widths.values()), widths


def test_a_call_is_counted_by_outcome_and_reason() -> None:
    stats = counted(received(), permitted(), started(), ended())
    assert stats["events"] == {
        "call.received": 1,
        "recording.permitted": 1,
        "recording.started": 1,
        "call.ended": 1,
    }
    assert counts(stats, "calls_ended") == {("completed", "caller"): 1}
    assert counts(stats, "calls_received") == {("main",): 1}
    assert counts(stats, "recordings_permitted") == {("not_objected",): 1}
    assert counts(stats, "recordings_started") == {(): 1}
    length = stats["histograms"]["length"]
    assert length["counts"] == [0, 1, *[0] * 8]
    assert length["sum"] == 9.0
    assert sum(stats["histograms"]["commit"]["counts"]) == 4


def test_a_call_that_is_lost_is_an_outcome_of_its_own() -> None:
    stats = counted(Entry("call.lost", CALL, {"at_ms": 1, "reason": "worker-lost"}))
    assert counts(stats, "calls_ended") == {("lost", "worker-lost"): 1}


def test_the_wait_for_a_permit_is_in_seconds() -> None:
    stats = counted(Entry("recording.armed", CALL, {"at_ms": 1, "number": 1, "waited_us": 3_000}))
    assert stats["histograms"]["permit"]["sum"] == pytest.approx(0.003)


@pytest.mark.parametrize(
    "value", ["+4930123456", "sip:bob@example.org", "a sentence of a stranger", "x" * 49, "123456"]
)
def test_a_label_is_never_what_could_be_personal(value: str) -> None:
    stats = counted(Entry("call.ended", CALL, {"at_ms": 0, "outcome": "failed", "reason": value}))
    assert counts(stats, "calls_ended") == {("failed", OTHER): 1}


def test_a_worker_that_makes_words_up_does_not_fill_the_monitoring() -> None:
    many = [Entry("recording.blocked", CALL, {"reason": f"r{n}"}) for n in range(MAX_SERIES + 50)]
    blocked = counts(counted(*many), "recordings_blocked")
    assert len(blocked) == MAX_SERIES + 1
    assert blocked[(OTHER,)] == 50


def test_the_ledger_tells_what_is_durable_and_not_what_it_refused(tmp_path: Path) -> None:
    home = make_home(tmp_path)

    async def run() -> dict[str, Any]:
        async with serving(home):
            client = await LedgerClient.connect(home.socket, "w0")
            for entry in (received(), ended()):
                await client.append(entry.type, call=entry.call, data=entry.data, personal=entry.personal)
            with pytest.raises(LedgerRefused):
                await client.append("call.ended", call=CALL, data=dict(ended().data))
            stats = await ask_stats(home.socket, name="metrics", within_s=5)
            await client.close()
            return stats

    stats = asyncio.run(run())
    assert stats["events"]["call.received"] == stats["events"]["call.ended"] == 1
    assert stats["writing"] is True
    assert stats["queue"] == 0
    assert stats["workers"] == 1
    assert stats["size"] == sum(stats["events"].values()) + 2  # log.created and key.added were there before
    assert stats["unsealed"] > 0
    assert stats["unsealed_s"] >= 0


def test_a_checkpoint_ends_the_wait_for_it(tmp_path: Path) -> None:
    home = make_home(tmp_path)

    async def run() -> dict[str, Any]:
        async with serving(home, checkpoint_events=1):
            client = await LedgerClient.connect(home.socket, "w0")
            await client.append("call.received", call=CALL, data=dict(received().data), personal={})
            await client.close()
            seen: list[dict[str, Any]] = []

            def sealed() -> bool:
                return bool(seen) and seen[-1]["unsealed"] == 0

            while not sealed():
                seen.append(await ask_stats(home.socket, name="metrics", within_s=5))
            return seen[-1]

    assert asyncio.run(run())["unsealed_s"] == 0


def test_a_ledger_that_does_not_answer_is_told_within_the_deadline(tmp_path: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass
        gone.set()
        writer.close()

    async def run() -> None:
        server = await asyncio.start_unix_server(silent, tmp_path / "s")
        try:
            with pytest.raises(LedgerUnavailable, match=r"did not answer within 0\.2 s"):
                await ask_stats(tmp_path / "s", name="metrics", within_s=0.2)
            await asyncio.wait_for(gone.wait(), 10)
        finally:
            server.close()

    gone = asyncio.Event()
    asyncio.run(run())


def test_counting_that_breaks_does_not_stop_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    home = make_home(tmp_path)

    def broken(_self: LedgerStats, _entry: Entry, _waited: float) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(LedgerStats, "durable", broken)

    async def run() -> None:
        async with serving(home):
            client = await LedgerClient.connect(home.socket, "w0")
            await client.append("call.received", call=CALL, data=dict(received().data), personal={})
            await client.append("call.ended", call=CALL, data=dict(ended().data))
            await client.close()

    asyncio.run(run())
    assert "was not counted" in caplog.text


def test_the_ledger_names_a_call_by_both_its_ids(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    home = make_home(tmp_path)

    async def run() -> None:
        async with serving(home):
            client = await LedgerClient.connect(home.socket, "w0")
            await client.append("call.received", call=CALL, data={**received().data, "edge": "abc-1"}, personal={})
            await client.append("call.ended", call=CALL, data=dict(ended().data))
            await client.close()
            await until(lambda: "completed (caller)" in caplog.text, "the line of the end")

    asyncio.run(run())
    about = [(r.getMessage(), r.__dict__["edge"]) for r in caplog.records if r.__dict__.get("call") == CALL]
    assert about == [(f"call {CALL}: received by worker-1", "abc-1"), (f"call {CALL}: completed (caller)", "abc-1")]


def test_what_is_sent_again_is_counted_once_and_a_new_ledger_begins_at_0(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    first = message(received())

    async def send(*messages: dict[str, Any]) -> None:
        reader, writer = await asyncio.open_unix_connection(str(home.socket))
        writer.write(pack({"op": "hello", "v": VERSION, "worker": "w0", "role": "worker", "live": [CALL]}))
        for one in messages:
            writer.write(pack(one))
        answers: list[str] = []
        unpacker = Unpacker()
        while len(answers) <= len(messages):
            answers += [answer["op"] for answer in unpacker.feed(await reader.read(65_536))]
        writer.close()
        await writer.wait_closed()
        assert answers == ["welcome", *["ack"] * len(messages)]

    async def run() -> list[dict[str, Any]]:
        found = []
        async with serving(home):
            await send(first, {**first, "n": 2, "again": True})
            found.append(await ask_stats(home.socket, name="metrics", within_s=5))
        async with serving(home):
            await send({**first, "again": True})
            found.append(await ask_stats(home.socket, name="metrics", within_s=5))
        return found

    before, after = asyncio.run(run())
    assert before["events"]["call.received"] == 1
    assert "call.received" not in after["events"]
    assert after["since"] > before["since"]
    assert types(home).count("call.received") == 1
