# SPDX-License-Identifier: GPL-3.0-or-later
"""A ledger that hangs with its connection open is noticed, one that is slow is not, and nobody is blamed for others."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from calls_kit import on_virtual_clock
from ivr.ledger.client import Ack, LedgerClient, LedgerUnavailable
from ivr.ledger.log import Log
from ivr.ledger.patience import Patience
from ivr.ledger.protocol import Unpacker, pack
from ledger_kit import CALL, make_home, received, serving, until

LIMIT = 0.1


class Silent:
    """Speaks the ledger's protocol, and answers only while it is not told to hang."""

    def __init__(self, **welcome: Any) -> None:
        self.hangs = False
        self.got: list[str] = []
        self._welcome = {"op": "welcome", "log": "x", "lost": [], "pings": True} | welcome
        self._owed: list[Callable[[], None]] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        unpacker = Unpacker()
        while data := await reader.read(65536):
            for message in unpacker.feed(data):
                self.got.append(str(message["op"]))
                self._owed.append(partial(writer.write, pack(self._answer(message))))
            self.catch_up()
        writer.close()

    def catch_up(self) -> None:
        while self._owed and not self.hangs:
            self._owed.pop(0)()

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        if message["op"] == "hello":
            return self._welcome
        if message["op"] == "ping":
            return {"op": "pong"}
        return {"op": "ack", "n": message["n"], "seq": 1, "id": message["id"], "time": "now", "jws": "jws"}


@asynccontextmanager
async def hung(folder: Path, ledger: Silent) -> AsyncIterator[tuple[LedgerClient, list[bool]]]:
    said: list[bool] = []
    server = await asyncio.start_unix_server(ledger.serve, str(folder / "s"))
    client = await LedgerClient.connect(folder / "s", "w0", patience=LIMIT)
    client.on_state = said.append
    try:
        yield client, said
    finally:
        await client.close(0.01)
        server.close()
        await server.wait_closed()


def append(client: LedgerClient, **how: Any) -> "asyncio.Future[Ack]":
    return client.append("node.draining", call=None, data={"reason": "test"}, **how)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def test_an_event_that_is_not_answered_tells_that_the_ledger_hangs(tmp_path: Path) -> None:
    async def test() -> None:
        ledger = Silent()
        async with hung(tmp_path, ledger) as (client, said):
            ledger.hangs = True
            waits = append(client)
            await until(lambda: said == [False], "it is noticed")
            with pytest.raises(LedgerUnavailable, match="not connected"):
                await append(client, queue=False)
            ledger.hangs = False
            ledger.catch_up()
            assert (await waits).seq == 1
            assert said == [False, True]
            assert (await append(client, queue=False)).seq == 1

    run(test())


def test_a_call_that_is_recorded_and_says_nothing_notices_it_too(tmp_path: Path) -> None:
    async def test() -> None:
        ledger = Silent()
        async with hung(tmp_path, ledger) as (client, said):
            client.attend(CALL)
            await until(lambda: ledger.got.count("ping") >= 3, "it is asked")
            assert said == []
            ledger.hangs = True
            await until(lambda: said == [False], "it is noticed")
            ledger.hangs = False
            ledger.catch_up()
            await until(lambda: said == [False, True], "it is back")

    run(test())


def test_nobody_asks_where_nothing_is_recorded(tmp_path: Path) -> None:
    async def test() -> None:
        ledger = Silent()
        async with hung(tmp_path, ledger) as (client, said):
            await append(client)
            client.attend(CALL)
            client.leave(CALL)
            other = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(6 * LIMIT, other.set_result, None)
            await other
            assert "ping" not in ledger.got
            assert said == []

    run(test())


def test_a_ledger_of_an_earlier_release_is_not_asked(tmp_path: Path) -> None:
    async def test() -> None:
        ledger = Silent(pings=False)
        async with hung(tmp_path, ledger) as (client, said):
            client.attend(CALL)
            await append(client)
            ledger.hangs = True
            waits = append(client)
            await until(lambda: said == [False], "its silence is noticed all the same")
            ledger.hangs = False
            ledger.catch_up()
            await waits
            assert "ping" not in ledger.got

    run(test())


def test_a_disk_that_hangs_is_no_answer_to_a_ping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = make_home(tmp_path)
    free, append_ = threading.Event(), Log.append
    free.set()

    def slow(*args: Any, **more: Any) -> Any:
        free.wait(20)
        return append_(*args, **more)

    monkeypatch.setattr(Log, "append", slow)

    async def test() -> None:
        said: list[bool] = []
        async with serving(home):
            other = await LedgerClient.connect(home.socket, "w1")
            client = await LedgerClient.connect(home.socket, "w0", patience=LIMIT)
            client.on_state = said.append
            one = received()
            free.clear()
            try:
                # Another worker's event is on its way to the disk; this one has nothing to say.
                waits = other.append(one.type, call=one.call, data=one.data, personal=one.personal)
                await asyncio.sleep(0)
                client.attend(CALL)
                await until(lambda: said == [False], "it is noticed")
            finally:
                free.set()
            await waits
            await until(lambda: said == [False, True], "it is back")
            await client.close()
            await other.close()

    run(test())


def test_a_slow_ledger_is_not_one_that_hangs() -> None:
    async def test() -> tuple[list[bool], float]:
        said: list[bool] = []
        patience = Patience(2.0, lambda: True, lambda: None, said.append)
        patience.sent()
        for _ in range(50):
            await asyncio.sleep(1.9)
            patience.answered()
        assert said == []
        loop = asyncio.get_running_loop()
        since = loop.time()
        while not said:
            await asyncio.sleep(0.1)
        patience.close()
        return said, loop.time() - since

    said, after = on_virtual_clock(test)
    assert said == [False]
    assert 2.0 <= after <= 3.2


def test_whoever_was_stopped_itself_blames_nobody() -> None:
    async def test() -> None:
        said: list[bool] = []
        patience = Patience(LIMIT, lambda: True, lambda: None, said.append)
        patience.sent()
        for _ in range(4):
            time.sleep(5 * LIMIT)  # the process had no processor; the answer waits to be read
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            patience.answered()
        patience.close()
        assert said == []

    run(test())
