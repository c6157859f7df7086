# SPDX-License-Identifier: GPL-3.0-or-later
"""The door of the metrics endpoint: how many may be inside, and for how long.

The endpoint lives in the manager's process, whose file descriptors are the workers' channels. So whoever reaches the
port must not be able to take them: by connections that are opened, by requests that never end, by answers that nobody
reads.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

MOST = 32
REQUEST_S = 5.0
ANSWER_S = 15.0


class Door:
    """Counts connections, on one loop. Times in seconds: `request_s` from the connection to a whole request's head,
    `answer_s` from there to the last byte of the answer."""

    def __init__(self, most: int = MOST, request_s: float = REQUEST_S, answer_s: float = ANSWER_S) -> None:
        self._most = most
        self._request_s = request_s
        self._answer_s = answer_s
        self._loop = asyncio.get_running_loop()
        self._inside: dict[asyncio.BaseTransport, asyncio.TimerHandle] = {}
        self._waiting: dict[asyncio.Transport, None] = {}
        """Those that have not asked yet, the oldest first."""

    @property
    def inside(self) -> int:
        """How many are connected now."""
        return len(self._inside)

    def lets(self, server: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        """A protocol factory for `create_server`, before that of an HTTP server."""
        return lambda: _Visit(self, server)

    def enters(self, transport: asyncio.Transport) -> bool:
        """Whether this one may stay. When all places are taken, the oldest that has not asked yet has to go."""
        if len(self._inside) >= self._most:
            if not self._waiting:
                return False
            self._put_out(next(iter(self._waiting)))
        self._inside[transport] = self._loop.call_later(self._request_s, self._put_out, transport)
        self._waiting[transport] = None
        return True

    def leaves(self, transport: asyncio.BaseTransport) -> None:
        """It has gone, or was put out."""
        timer = self._inside.pop(transport, None)
        if timer is not None:
            timer.cancel()
        self._waiting.pop(cast(asyncio.Transport, transport), None)

    def _put_out(self, transport: asyncio.Transport) -> None:
        self.leaves(transport)
        # Not close(): that would wait for a peer to read.
        transport.abort()

    @property
    def middleware(self) -> Middleware:
        """For the application behind this door: it knows when a request is whole. One request a connection."""

        @web.middleware
        async def asked(request: web.Request, handler: Handler) -> web.StreamResponse:
            transport = request.transport
            if transport is not None and (timer := self._inside.get(transport)) is not None:
                timer.cancel()
                self._inside[transport] = self._loop.call_later(self._answer_s, self._put_out, transport)
                self._waiting.pop(transport, None)
            try:
                answer = await handler(request)
            except web.HTTPException as refusal:
                refusal.force_close()
                raise
            answer.force_close()
            return answer

        return asked


class _Visit(asyncio.Protocol):
    """One connection: the server's own protocol, made only for those that may stay."""

    def __init__(self, door: Door, server: Callable[[], asyncio.Protocol]) -> None:
        self._door = door
        self._server = server
        self._inner: asyncio.Protocol | None = None
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, not a check: uvloop's stream transports are no asyncio.Transport by inheritance.
        stream = cast(asyncio.Transport, transport)
        if not self._door.enters(stream):
            stream.abort()
            return
        self._transport = transport
        self._inner = self._server()
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._inner is not None else None

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._door.leaves(self._transport)
        if self._inner is not None:
            self._inner.connection_lost(exc)
