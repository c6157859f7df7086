# SPDX-License-Identifier: GPL-3.0-or-later
"""What pool processes say to each other: whole messages, an end, nonsense; and what an edge is told."""

import asyncio
import os
import select
import socket
from collections.abc import Awaitable, Callable

import pytest

from ivr.node.pool.channel import Channel, Message, pair, send
from ivr.node.pool.edges import EdgeKeeper, Wanted
from ivr.node.pool.pooled import Pooled, State
from ivr.node.pool.slots import Slot


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await main()

    asyncio.run(bounded())


def test_messages_arrive_whole_with_their_descriptors_and_the_end_is_told_once() -> None:
    async def main() -> None:
        ours, theirs = pair()
        got: list[tuple[Message, list[int]]] = []
        ends: list[str] = []
        channel = Channel(ours, lambda message, fds: got.append((message, fds)), lambda: ends.append("end"), "one")
        read, write = os.pipe()
        assert send(theirs, {"op": "one", "text": "x" * 100_000}, [write])
        assert send(theirs, {"op": "two"})
        await until(lambda: len(got) == 2)
        assert [message["op"] for message, _ in got] == ["one", "two"]
        os.write(got[0][1][0], b"through")
        assert os.read(read, 10) == b"through"
        for fd in (read, write, *got[0][1]):
            os.close(fd)
        theirs.close()
        await until(lambda: ends == ["end"])
        assert not channel.send({"op": "late"})

    run(main)


@pytest.mark.parametrize("message", [b'{"op": "beat"}', b'{"op": ["forked"]}', b"{", b"[]", b""])
@pytest.mark.parametrize("handles", [None, "forked"])
def test_descriptors_that_nobody_asked_for_are_closed(message: bytes, handles: str | None) -> None:
    """A worker parses what strangers send: it must not fill the manager's table of descriptors."""

    async def main() -> None:
        ours, theirs = pair()
        got: list[tuple[Message, list[int]]] = []
        channel = Channel(ours, lambda *heard: got.append(heard), lambda: got.append(({}, [])), handles)
        read, write = os.pipe()
        socket.send_fds(theirs, [message], [write] * 4)
        os.close(write)
        await until(lambda: got)
        # The pipe ends with its last writer: nobody holds a copy any more.
        assert select.select([read], [], [], 5)[0]
        assert os.read(read, 1) == b""
        assert got[0][1] == []
        os.close(read)
        channel.close()
        theirs.close()

    run(main)


def test_nonsense_is_no_message_and_no_end() -> None:
    async def main() -> None:
        ours, theirs = pair()
        got: list[Message] = []
        channel = Channel(ours, lambda message, _: got.append(message), lambda: got.append({"op": "end"}))
        for data in (b"{", b"[1]", b'"x"', b"\xff"):
            theirs.send(data)
        send(theirs, {"op": "sense"})
        await until(lambda: {"op": "sense"} in got)
        assert [message for message in got if message] == [{"op": "sense"}]
        channel.close()
        theirs.close()

    run(main)


def test_who_takes_nothing_in_any_more_holds_nobody_up() -> None:
    ours, theirs = pair()
    with ours, theirs:
        sent = 0
        while send(ours, {"fill": "x" * 10_000}) and sent < 10_000:
            sent += 1
        assert 0 < sent < 10_000


class Seen:
    """A watcher that notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def worker_ready(self, worker: Pooled) -> None:
        self.heard.append("ready")

    def worker_changed(self, worker: Pooled) -> None:
        self.heard.append("beat")

    def worker_gone(self, worker: Pooled) -> None:
        self.heard.append("gone")


def test_a_worker_is_what_its_beats_say_and_a_beat_that_says_rubbish_is_none() -> None:
    async def main() -> None:
        seen = Seen()
        worker = Pooled(Slot(3, "127.0.0.1", 15003, 16048, 16), 1, seen)
        their = socket.socket(fileno=os.dup(worker.theirs.fileno()))
        worker.theirs.close()
        send(their, {"op": "ready", "pid": 1})
        await until(lambda: seen.heard == ["ready"])
        assert worker.state is State.READY
        first = worker.alive_at
        send(their, {"op": "beat", "calls": ["a", "b"], "served": 7, "stalled": 0.0, "rss": 5, "stats": {"x": 1}})
        send(their, {"op": "beat", "calls": "all", "served": None, "stalled": "no"})
        await until(lambda: seen.heard.count("beat") == 1)
        assert (worker.calls, worker.served, worker.rss, worker.stats) == (("a", "b"), 7, 5, {"x": 1})
        # A beat of a worker whose thread has stood still for an hour is no sign of life.
        alive = worker.alive_at
        await asyncio.sleep(0.01)
        send(their, {"op": "beat", "calls": [], "served": 7, "stalled": 3600.0})
        await until(lambda: seen.heard.count("beat") == 2)
        assert (worker.calls, worker.served) == ((), 7)
        assert first <= worker.alive_at == alive
        their.close()
        await until(lambda: seen.heard[-1] == "gone")
        assert (worker.state, worker.was) == (State.GONE, State.READY)
        worker.close()

    run(main)


class FlakyEdge:
    """An edge that fails the first commands."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.told: list[tuple[str, str]] = []

    async def _do(self, what: str, worker: str) -> int:
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise ConnectionRefusedError("nobody there")
        self.told.append((what, worker))
        return 2

    async def enable(self, worker: str) -> object:
        return await self._do("enable", worker)

    async def drain(self, worker: str) -> object:
        return await self._do("drain", worker)

    async def remove(self, worker: str) -> int:
        return await self._do("remove", worker)

    async def run(self) -> str:
        return "1"


def test_an_edge_is_told_again_until_it_has_heard_and_only_what_still_holds() -> None:
    async def main() -> None:
        edge = FlakyEdge(1)
        keeper = EdgeKeeper(edge)
        keeper.want("w0", Wanted.IN)
        await until(lambda: edge.failures == 0)
        keeper.want("w0", Wanted.OUT)  # the worker died while the edge was away
        await until(lambda: edge.told == [("remove", "w0")])
        keeper.want("w0", Wanted.IN)
        await keeper.settled("w0")
        keeper.want("w1", Wanted.DRAIN)
        await keeper.settled("w1")
        keeper.again()  # it has started anew
        await until(lambda: len(edge.told) == 5)
        assert edge.told == [("remove", "w0"), ("enable", "w0"), ("drain", "w1"), ("enable", "w0"), ("drain", "w1")]
        await keeper.close()

    run(main)
