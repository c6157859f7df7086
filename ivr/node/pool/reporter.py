# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's side of its channel to the manager: beats from the event loop, and commands.

A beat says that the event loop turns, because it comes from there, and for how long a thread of SIP or media has not.
When the manager is gone the worker drains: its calls go on, new ones are for the next manager's workers.
"""

import asyncio
import logging
import os
import resource
import socket
from collections.abc import Callable
from typing import Any

from ivr.node.pool.channel import Channel, Message
from ivr.node.worker import Worker

log = logging.getLogger(__name__)

BEAT_S = 0.75
IDLE_BEAT_S = 1.0
"""Without a call: waking up is what an idle worker costs."""

FULL_EVERY = 4
"""Memory and statistics are in each so many-th beat: they cost more than the rest of it."""

IDLE_EVERY = 10
"""And in each so many-th when no call has changed them."""

_PAGE = resource.getpagesize()


class Reporter:
    """Made once the worker takes calls. `stop` is the worker's own event: it drains and ends."""

    def __init__(self, sock: socket.socket, worker: Worker, stop: asyncio.Event) -> None:
        self._worker = worker
        self._stop = stop
        self._loop = asyncio.get_running_loop()
        self._count = 0
        self._told = -1
        """Calls served when memory and statistics were last sent and no call was up; below 0 before that."""
        self._memory = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._channel = Channel(sock, self._command, self._orphaned)
        self._soon: asyncio.Handle | None = None
        self._commands: dict[str, Callable[[Message], None]] = {
            "drain": lambda said: worker.drain_now(str(said.get("reason", "drain")), say=bool(said.get("say"))),
            "undrain": lambda _: worker.undrain(),
            "stop": self._stop_now,
            "end": lambda said: worker.end_call(str(said.get("call")), str(said.get("reason", "operator"))),
        }
        worker.on_change = self.changed
        self._channel.send({"op": "ready", "pid": os.getpid()})
        self._beat()

    def _beat(self) -> None:
        worker = self._worker
        idle = not worker.live_calls()
        self._timer = self._loop.call_later(IDLE_BEAT_S if idle else BEAT_S, self._beat)
        every = IDLE_EVERY if idle and worker.served == self._told else FULL_EVERY
        self._count += 1
        self._send(full=self._count % every == 0 or self._told < 0)

    def changed(self) -> None:
        """A call came or went: the manager is told in this turn of the loop and not only with the next beat."""
        if self._soon is None:
            self._soon = self._loop.call_soon(self._send_change)

    def _send_change(self) -> None:
        self._soon = None
        self._send(full=not self._worker.live_calls())

    def _send(self, *, full: bool) -> None:
        worker = self._worker
        message: dict[str, Any] = {
            "op": "beat",
            "state": "draining" if worker.draining else "ready",
            "calls": worker.live_calls(),
            "served": worker.served,
            "stalled": round(worker.endpoint.stalled_s(), 3),
        }
        if full:
            self._told = 0 if message["calls"] else worker.served
            message["rss"] = int(os.pread(self._memory, 100, 0).split()[1]) * _PAGE
            message["stats"] = worker.stats()
        self._channel.send(message)

    def _command(self, message: Message, _fds: list[int]) -> None:
        command = self._commands.get(str(message.get("op")))
        if command is None:
            log.error("the manager asked for %r, which no worker knows", message.get("op"))
        else:
            command(message)
            self.changed()

    def _stop_now(self, message: Message) -> None:
        self._worker.stop_reason = str(message["reason"]) if message.get("say") else None
        self._stop.set()

    def _orphaned(self) -> None:
        log.warning("the pool manager is gone: draining, %d calls go on", len(self._worker.live_calls()))
        self._worker.stop_reason = "manager-lost"
        self._stop.set()

    def close(self) -> None:
        """A last beat with all figures, then no more."""
        self._send(full=True)
        self._timer.cancel()
        self._channel.close()
        os.close(self._memory)
