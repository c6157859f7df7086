# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge's RPC client: what it asks is answered, refused or given up; whoever is cancelled ends, whenever that is."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ivr.node.edge.rpc import EdgeRefused, EdgeUnavailable, Rpc


@contextmanager
def door(folder: Path) -> Iterator[tuple[Path, socket.socket]]:
    """A Unix datagram socket, as Kamailio has one."""
    path = folder / "rpc.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as server:
        server.bind(str(path))
        yield path, server


async def answer(server: socket.socket, **said: object) -> None:
    """Answers the next request."""
    request, client = await asyncio.get_running_loop().sock_recvfrom(server, 65_536)
    server.sendto(json.dumps({"jsonrpc": "2.0", "id": json.loads(request)["id"], **said}).encode(), client)


def test_a_command_has_a_result_or_a_refusal(tmp_path: Path) -> None:
    async def ask(path: Path, server: socket.socket) -> None:
        client = Rpc(path)
        asked = asyncio.ensure_future(client.call("htable.get", "stat", "run"))
        await answer(server, result={"item": 1})
        assert await asked == {"item": 1}
        asked = asyncio.ensure_future(client.call("no_such"))
        await answer(server, error={"code": 500, "message": "Method Not Found"})
        with pytest.raises(EdgeRefused, match="refuses no_such: Method Not Found"):
            await asked
        client.close()

    with door(tmp_path) as (path, server):
        asyncio.run(ask(path, server))


def test_several_commands_are_given_at_once_and_each_has_its_own_answer(tmp_path: Path) -> None:
    async def ask(path: Path, server: socket.socket) -> None:
        client, loop = Rpc(path), asyncio.get_running_loop()
        asked = asyncio.ensure_future(client.calls(("first", 1), ("second", "a", 2), ("third",)))
        got = [await loop.sock_recvfrom(server, 65_536) for _ in range(3)]  # before any was answered
        requests = [json.loads(request) for request, _ in got]
        assert [(r["method"], r["params"]) for r in requests] == [("first", [1]), ("second", ["a", 2]), ("third", [])]
        for request in reversed(requests):
            said = {"error": {"code": 404, "message": "no"}} if request["method"] == "second" else {"result": "yes"}
            server.sendto(json.dumps({"id": request["id"], **said}).encode(), got[0][1])
        first, second, third = await asked
        assert (first, third) == ("yes", "yes")
        assert isinstance(second, EdgeRefused)
        assert second.code == 404
        client.close()

    with door(tmp_path) as (path, server):
        asyncio.run(ask(path, server))


def test_an_edge_that_says_nothing_is_given_up_and_its_late_answer_is_nobodys(tmp_path: Path) -> None:
    async def ask(path: Path, server: socket.socket) -> None:
        client = Rpc(path, timeout=0.05)
        with pytest.raises(EdgeUnavailable, match="does not answer"):
            await client.call("first")
        asked = asyncio.ensure_future(client.call("second"))
        await answer(server, result="of the first")
        await answer(server, result="of the second")
        assert await asked == "of the second"
        client.close()

    with door(tmp_path) as (path, server):
        asyncio.run(ask(path, server))


@pytest.mark.parametrize("turns", range(8))
def test_whoever_is_cancelled_while_the_answer_comes_in_ends(tmp_path: Path, turns: int) -> None:
    """A task that forgot its cancellation would go on after the end of the pool, which would wait for it for ever."""

    async def ask(path: Path, server: socket.socket) -> bool:
        client = Rpc(path)
        asked = asyncio.ensure_future(client.call("any"))
        await answer(server, result="here")
        for _ in range(turns):
            await asyncio.sleep(0)
        cancelled = asked.cancel()
        with suppress(asyncio.CancelledError):
            await asked
        client.close()
        return cancelled is asked.cancelled()

    with door(tmp_path) as (path, server):
        assert asyncio.run(ask(path, server))
