# SPDX-License-Identifier: GPL-3.0-or-later
"""One worker as the manager sees it: its process, what its last beat said, and what it was told."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from typing import Any, Protocol

from ivr.node.pool.channel import Channel, Message, pair
from ivr.node.pool.nurseries import Nursery
from ivr.node.pool.recycling import Age
from ivr.node.pool.slots import Slot


class State(StrEnum):
    """What a worker is to the pool."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    """Takes no new calls; ends when it has none, if it is leaving."""
    STOPPING = "stopping"
    """Told to end; its last calls may go on for drain_timeout."""
    GONE = "gone"
    """Its channel has ended; its process may still be on its way out."""


def kill_process(handle: int) -> None:
    """SIGKILL to the process of this handle, if it has not ended yet."""
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(handle, signal.SIGKILL)


class Watcher(Protocol):
    """Who hears of a worker."""

    def worker_ready(self, worker: "Pooled") -> None:
        """It takes calls, for the first time, or would if it had not been drained meanwhile."""

    def worker_changed(self, worker: "Pooled") -> None:
        """A call of it came or went, or it said that it takes no new ones, or again does."""

    def worker_gone(self, worker: "Pooled") -> None:
        """Its channel ended."""


class Pooled:
    """Owned by the manager's loop."""

    def __init__(self, slot: Slot, generation: int, watcher: Watcher) -> None:
        self._loop = asyncio.get_running_loop()
        self.slot = slot
        self.generation = generation
        self._watcher = watcher
        ours, self.theirs = pair()
        self._channel = Channel(ours, self._said, self._ended)
        self.state = self.was = State.STARTING
        """Now, and before it was gone."""
        self.asked: Nursery | None = None
        """The nursery that is to fork it."""
        self.pid = 0
        """0 until that has said that it did."""
        self._handle = -1
        self.calls: tuple[str, ...] = ()
        self.served = 0
        self.drained = False
        """It was told to take no new calls; one that is starting hears that once it is ready."""
        self.closed = False
        """Its last beat said that it takes no new calls; before that, one may be on its way to it or to us."""
        self.rss = 0
        self._base = 0
        self.stats: dict[str, Any] = {}
        self.started = self.alive_at = self._loop.time()
        self.ready_at: float | None = None
        self.stopped_at = self.stop_by = 0.0
        """When it was told to end, and until when it may take for that."""
        self.leaving: str | None = None
        """Why it goes once it has no call; None: it stays."""
        self.blamed: str | None = None
        """Why the manager killed it."""

    @property
    def name(self) -> str:
        """Its slot's."""
        return self.slot.name

    @property
    def serves(self) -> bool:
        """Takes calls, or is about to."""
        return self.state in (State.STARTING, State.READY) and not self.drained

    @property
    def age(self) -> Age:
        """What it has behind it."""
        return Age(self.served, len(self.calls), self.rss, self._base)

    def born(self, pid: int, handle: int, on_exit: Callable[[], None]) -> None:
        """The nursery forked it. `on_exit` is called when the process has ended."""
        self.pid, self._handle = pid, handle
        self._loop.add_reader(handle, on_exit)

    # -- what it says --------------------------------------------------------------------------------------------

    def take_in(self) -> None:
        """Hears what it has said already, before it is blamed for silence."""
        self._channel.take_in()

    def _said(self, message: Message, _fds: list[int]) -> None:
        now = self._loop.time()
        match message.get("op"):
            case "ready" if self.state is State.STARTING:
                self.state = State.DRAINING if self.drained else State.READY
                self.ready_at = self.alive_at = now
                self._watcher.worker_ready(self)
            case "beat":
                before = self.calls, self.served, self.closed
                self._beat(message, now)
                if (self.calls, self.served, self.closed) != before:
                    self._watcher.worker_changed(self)

    def _beat(self, message: Message, now: float) -> None:
        stalled, calls, served = message.get("stalled"), message.get("calls"), message.get("served")
        if not isinstance(stalled, int | float) or not isinstance(calls, list) or not isinstance(served, int):
            return
        # A thread that stands still counts as silence since then.
        self.alive_at = max(self.alive_at, now - max(0.0, stalled)) if stalled else now
        self.calls, self.served = tuple(map(str, calls)), served
        self.closed = message.get("state") == "draining"
        rss, stats = message.get("rss"), message.get("stats")
        if isinstance(rss, int):
            self.rss = rss
            if not self._base and served and not calls:
                self._base = rss
        if isinstance(stats, dict):
            self.stats = stats

    def _ended(self) -> None:
        self.was, self.state = self.state, State.GONE
        self._watcher.worker_gone(self)

    # -- what it is told -----------------------------------------------------------------------------------------

    def drain(self, reason: str, *, say: bool = False) -> None:
        """No new calls. `say`: its log line is to say that the node drains."""
        if self.serves:
            self._channel.send({"op": "drain", "reason": reason, "say": say})
            self.drained, self.closed = True, False
            if self.state is State.READY:
                self.state = State.DRAINING

    def undrain(self) -> None:
        """New calls again, unless it is on its way out."""
        if self.drained and self.leaving is None and self.state in (State.STARTING, State.DRAINING):
            self._channel.send({"op": "undrain"})
            self.drained = self.closed = False
            if self.state is State.DRAINING:
                self.state = State.READY

    def stop(self, reason: str, *, within: float, say: bool = False) -> None:
        """Drain and end; killed when it has not after `within` seconds."""
        if self.state not in (State.STOPPING, State.GONE):
            self._channel.send({"op": "stop", "reason": reason, "say": say})
            self.state, self.stopped_at = State.STOPPING, self._loop.time()
            self.stop_by = self.stopped_at + within

    def end_call(self, call: str, reason: str) -> bool:
        """Ends one of its calls; whether it has it."""
        return call in self.calls and self._channel.send({"op": "end", "call": call, "reason": reason})

    def kill(self, why: str) -> None:
        """SIGKILL: a worker that hangs is never resumed. One whose process nobody has named is let go of at once."""
        self.blamed = why
        if self._handle >= 0:
            kill_process(self._handle)
        elif self.state is not State.GONE:
            self._channel.close()
            self._ended()

    # -- its end -------------------------------------------------------------------------------------------------

    def reaped(self) -> int | None:
        """Its exit status when it is the manager's own child by now and has ended; None when the nursery knows."""
        with suppress(ChildProcessError):
            if os.waitid(os.P_PIDFD, self._handle, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return None

    def close(self) -> None:
        """Forgets its process and its channel."""
        self.theirs.close()
        self._channel.close()
        if self._handle >= 0:
            self._loop.remove_reader(self._handle)
            os.close(self._handle)
            self._handle = -1

    def status(self, now: float) -> dict[str, Any]:
        """For people and metrics."""
        return {
            "name": self.name,
            "pid": self.pid,
            "state": self.state.value,
            "leaving": self.leaving,
            "calls": list(self.calls),
            "closed": self.closed,
            "served": self.served,
            "rss": self.rss,
            "age_s": round(now - self.started, 1),
            "silent_s": round(now - self.alive_at, 2),
            "generation": self.generation,
            "sip_port": self.slot.sip_port,
            "stats": self.stats,
        }
