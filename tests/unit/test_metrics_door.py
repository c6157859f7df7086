# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics endpoint's door, with real sockets: nobody takes the manager's descriptors by way of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from ivr.node.observe.door import Door

ASK = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
LONG_S = 60.0
Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[], Awaitable[Line]]


@asynccontextmanager
async def behind(door: Door, body: bytes = b"well") -> AsyncIterator[Dial]:
    """A server behind this door; gives what connects to it."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body)

    app = web.Application(middlewares=[door.middleware])
    app.router.add_get("/healthz", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    assert runner.server is not None
    server = await asyncio.get_running_loop().create_server(door.lets(runner.server), "127.0.0.1", 0)
    lines: list[Line] = []

    async def dial() -> Line:
        lines.append(await asyncio.open_connection(*server.sockets[0].getsockname()))
        return lines[-1]

    try:
        yield dial
    finally:
        server.close()
        for _, writer in lines:
            writer.transport.abort()
        await runner.cleanup()


async def end_of(line: Line) -> bytes:
    """What was read until the other side closed or reset."""
    found = bytearray()
    async with asyncio.timeout(20):
        while True:
            try:
                data = await line[0].read(65536)
            except ConnectionError:
                return bytes(found)
            if not data:
                return bytes(found)
            found += data


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))  # type: ignore[arg-type]


@pytest.mark.parametrize("sent", [b"", b"GET /heal", ASK[:-2], b"GET /healthz HTTP/1.1\r\nX: y\r\n"])
def test_whoever_does_not_send_a_whole_request_is_put_out(sent: bytes) -> None:
    async def test() -> None:
        async with behind(Door(request_s=0.1)) as dial:
            line = await dial()
            line[1].write(sent)
            assert await end_of(line) == b""

    run(test)


def test_drops_of_a_request_do_not_lengthen_the_time() -> None:
    async def test() -> None:
        async with behind(Door(request_s=0.3)) as dial:
            line = await dial()
            ended = asyncio.create_task(end_of(line))
            line[1].write(b"GET /healthz HTTP/1.1\r\n")
            for _ in range(2000):
                if ended.done():
                    break
                line[1].write(b"X: y\r\n")
                await asyncio.wait({ended}, timeout=0.01)
            assert await ended == b""

    run(test)


def test_whoever_does_not_read_the_answer_is_put_out() -> None:
    async def test() -> None:
        door = Door(answer_s=0.2)
        async with behind(door, b"x" * 50_000_000) as dial:
            line = await dial()
            line[1].write(ASK)
            async with asyncio.timeout(20):
                while not door.inside:
                    await asyncio.sleep(0.01)
                while door.inside:
                    await asyncio.sleep(0.01)

    run(test)


def test_one_request_a_connection() -> None:
    async def test() -> None:
        async with behind(Door(answer_s=LONG_S)) as dial:
            for request in (ASK, ASK.replace(b"healthz", b"nowhere"), b"no http at all\r\n\r\n"):
                line = await dial()
                line[1].write(request)
                assert (await end_of(line)).startswith(b"HTTP/1.")

    run(test)


def test_silent_connections_do_not_keep_others_out_and_are_no_more_than_the_limit() -> None:
    async def test() -> None:
        door = Door(most=4, request_s=LONG_S)
        async with behind(door) as dial:
            silent = [await dial() for _ in range(20)]
            line = await dial()
            line[1].write(ASK)
            assert (await end_of(line)).endswith(b"well")
            for old in silent[:16]:
                assert await end_of(old) == b""
            assert door.inside <= 4

    run(test)


def test_connections_that_are_being_answered_are_not_put_out_for_others() -> None:
    async def test() -> None:
        door = Door(most=2)
        async with behind(door, b"x" * 50_000_000) as dial:
            busy = [await dial(), await dial()]
            for line in busy:
                line[1].write(ASK)
                assert (await line[0].read(4)) == b"HTTP"
            assert await end_of(await dial()) == b""
            for line in busy:
                assert len(await end_of(line)) > 50_000_000 - 4

    run(test)
