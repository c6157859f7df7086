# SPDX-License-Identifier: GPL-3.0-or-later
"""The manager's side of a nursery: starts the process, asks it for workers, hears how they ended."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ivr.node.environment import environment_of
from ivr.node.pool.channel import Channel, Message, pair

LOAD_S = 60.0
"""How long imports, flows and prompts may take to load."""

OnForked = Callable[[int, int, int], None]
"""Slot, process id, process handle (pidfd); the handle is the callee's to close."""
OnExited = Callable[[int, int], None]
"""Process id, exit status (negative: the signal)."""


class NurseryFailed(Exception):
    """It could not load what is on disk; the message says where and what to do."""


class Nursery:
    """One generation of code, configuration and flows, as it was on disk when `start` returned."""

    def __init__(self, folder: Path, on_forked: OnForked, on_exited: OnExited, on_gone: Callable[[], None]) -> None:
        self._folder = folder
        self._on_forked, self._on_exited, self._on_gone = on_forked, on_exited, on_gone
        self._loaded: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None

    async def start(self) -> None:
        """Raises NurseryFailed."""
        ours, theirs = pair()
        with theirs:
            # A thread of a numerical library would not survive the fork, and nothing here needs one.
            env = {**environment_of("nursery"), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ivr.node.pool.nursery", str(self._folder), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=env,
            )
        self._channel = Channel(ours, self._said, self._gone, handles="forked")
        try:
            async with asyncio.timeout(LOAD_S):
                said = await self._loaded
        except TimeoutError:
            self.close()
            raise NurseryFailed(f"the nursery has not loaded after {LOAD_S:.0f} s") from None
        if said["op"] != "ready":
            self.close()
            raise NurseryFailed(str(said.get("error")))

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid if self._process is not None else 0

    def fork(self, slot: int, channel: socket.socket) -> bool:
        """Asks for a worker with this end of a channel, which is closed here. False when the nursery is gone."""
        with channel:
            return self._channel is not None and self._channel.send({"op": "fork", "slot": slot}, [channel.fileno()])

    def _said(self, message: Message, fds: list[int]) -> None:
        match message.get("op"):
            case "forked":
                self._on_forked(int(message["slot"]), int(message["pid"]), fds[0])
            case "exited":
                self._on_exited(int(message["pid"]), int(message["status"]))
            case "ready" | "failed" if not self._loaded.done():
                self._loaded.set_result(message)

    def _gone(self) -> None:
        if not self._loaded.done():
            self._loaded.set_result({"op": "failed", "error": "the nursery ended while it loaded; see its own lines"})
        else:
            self._on_gone()

    def close(self) -> None:
        """Lets it go: it ends at the end of its channel. Its workers stay, and become children of the manager."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def reap(self) -> int | None:
        """Its exit status when it has ended, for the process table."""
        return self._process.poll() if self._process is not None else None

    def kill(self) -> None:
        """At the end of the manager, when nothing may be left."""
        self.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
