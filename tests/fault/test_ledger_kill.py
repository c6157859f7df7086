# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger is killed in mid-append, again and again: what it acknowledged is there, once, and the log verifies."""

import asyncio
import random
import subprocess
import sys
from pathlib import Path

from ivr.audit.source import LogSource
from ivr.ledger.client import LedgerClient
from ivr.ledger.ids import uuid7
from ivr.ledger.protocol import Ack
from ledger_kit import Home, joined, make_home, received, until

VICTIM = Path(__file__).with_name("ledger_victim.py")
KILLS = 8


def start(home: Home) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, str(VICTIM), str(home.path)], stdout=subprocess.PIPE, text=True)
    if process.stdout is None or process.stdout.readline() != "ready\n":
        process.kill()
        raise AssertionError("the ledger did not start")
    return process


def kill(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


async def write(home: Home, call: str, acked: dict[str, int], dead: asyncio.Event) -> None:
    """Append as fast as acknowledgements come, 16 at a time, until the ledger is gone."""
    client = await LedgerClient.connect(home.socket, "worker-1")

    def done(future: "asyncio.Future[Ack]") -> None:
        if not future.cancelled() and future.exception() is None:
            acked[future.result().id] = future.result().seq

    first = received(call)
    await client.append(first.type, call=call, data=first.data, personal=first.personal)
    count = 0
    while client.connected and not dead.is_set():
        count += 1
        entry = joined(call, count)
        futures = [client.append(entry.type, call=call, data=entry.data, queue=False) for _ in range(16)]
        for future in futures:
            future.add_done_callback(done)
        await asyncio.wait(futures)
    await client.close(timeout=0)


async def one_round(home: Home, acked: dict[str, int], rng: random.Random) -> None:
    process = start(home)
    before, dead = len(acked), asyncio.Event()
    writing = asyncio.create_task(write(home, uuid7(), acked, dead))
    try:
        # Never before there is something to lose; after that, at a moment nobody chose.
        await until(lambda: len(acked) > before or writing.done(), "an acknowledgement")
        await asyncio.sleep(rng.random() * 0.1)
    finally:
        kill(process)
        dead.set()
    await writing


def test_every_acknowledged_event_survives_kill_9(tmp_path: Path) -> None:
    home, acked, rng = make_home(tmp_path), dict[str, int](), random.Random(7)
    for _ in range(KILLS):
        asyncio.run(one_round(home, acked, rng))
        assert home.verify() == []
    with LogSource(home.db) as source:
        stored = {row.id: row.seq for row in source.rows()}
    assert len(acked) > KILLS
    assert {event: stored.get(event) for event in acked} == acked


def test_the_calls_that_a_killed_ledger_left_open_are_lost_after_its_restart(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    asyncio.run(one_round(home, {}, random.Random(1)))

    async def settled() -> None:
        def lost() -> bool:
            with LogSource(home.db) as source:
                return any(row.type == "call.lost" for row in source.rows())

        await until(lost, "call.lost")

    process = start(home)
    try:
        asyncio.run(settled())
    finally:
        kill(process)
    assert home.verify() == []
