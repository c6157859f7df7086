# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr serve`: starts ledger, edge and pool, waits until each is ready, replaces what dies, stops them in order."""

import asyncio
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from ivr.node.environment import environment_of
from ivr.node.process import AFTER, SUPERVISED

log = logging.getLogger(__name__)

OnUp = Callable[[], Awaitable[None]]

READY_S = 30.0
BACKOFF_S = (0.0, 0.5, 2.0, 5.0)
STEADY_S = 30.0
"""A process that lived so long starts again without a pause when it dies."""


class ChildFailed(Exception):
    """A process did not become ready; its own words are on stderr."""


class Child:
    """One supervised process: `ivr NAME --config DIR …`."""

    def __init__(self, name: str, arguments: list[str], *, prepares: bool = False) -> None:
        """`prepares`: it knows ASSENT_AFTER, so that a new one can be prepared while the old one still runs."""
        self.name = name
        self.prepares = prepares
        self._arguments = arguments
        self.process: asyncio.subprocess.Process | None = None
        self.started = 0.0
        self.failures = 0
        self.renewing = False
        self.up = asyncio.Event()

    async def start(self, replacing: asyncio.subprocess.Process | None = None, timeout: float = 0.0) -> None:
        """Starts it and waits for READY=1. Raises ChildFailed when it ends or stays silent.

        `replacing`: one that runs until this one is prepared; then it is stopped, in at most `timeout` seconds.
        """
        loop = asyncio.get_running_loop()
        after = {} if replacing is None else {AFTER: str(replacing.pid)}
        with tempfile.TemporaryDirectory(prefix="assent-") as folder:
            path = str(Path(folder) / "notify")
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.bind(path)
                # The edge is another user by the time it is ready. Nobody can list the folder; its name is random.
                os.chmod(folder, 0o711)
                os.chmod(path, 0o666)
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "ivr", self.name, *self._arguments),
                    env={**environment_of(self.name), "NOTIFY_SOCKET": path, SUPERVISED: "1", **after},
                    start_new_session=True,
                )
                if replacing is not None:
                    await self._says(process, sock, b"STATUS=prepared")
                    await self._stop(replacing, timeout)
                self.process, self.started = process, loop.time()
                await self._says(process, sock, b"READY=1")
        self.up.set()

    async def _says(self, process: asyncio.subprocess.Process, sock: socket.socket, what: bytes) -> None:
        loop = asyncio.get_running_loop()
        ended = asyncio.ensure_future(process.wait())
        said = asyncio.ensure_future(_said(loop, sock, what))
        try:
            waits: list[asyncio.Future[object]] = [ended, said]  # type: ignore[list-item]
            await asyncio.wait(waits, timeout=READY_S, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise ChildFailed(f"the {self.name} ended with status {ended.result()}")
            if not said.done():
                process.kill()
                raise ChildFailed(f"the {self.name} was not ready after {READY_S:.0f} s")
        finally:
            ended.cancel()
            said.cancel()

    async def stop(self, timeout: float) -> None:
        """SIGTERM, and SIGKILL when it is still there after `timeout` seconds."""
        if self.process is not None:
            await self._stop(self.process, timeout)

    async def _stop(self, process: asyncio.subprocess.Process, timeout: float) -> None:
        if process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(timeout):
                await process.wait()
        except TimeoutError:
            log.error("the %s did not end in %.0f s: killed", self.name, timeout)
            if process.returncode is None:
                process.kill()
            await process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal, when it is there."""
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(number)

    async def renew(self, timeout: float) -> None:
        """Replaces it by one that is started from what is on disk now. Raises ChildFailed.

        One that prepares itself beside the old one is away for as long as its own start takes, imports left out.
        """
        self.renewing = True
        self.up.clear()
        try:
            if self.prepares and self.process is not None and self.process.returncode is None:
                await self.start(self.process, timeout)
            else:
                await self.stop(timeout)
                async with asyncio.timeout(READY_S):
                    await self.up.wait()
        except TimeoutError:
            raise ChildFailed(f"the {self.name} is not up again after {READY_S:.0f} s") from None
        finally:
            self.renewing = False
            self.up.set()


async def _said(loop: asyncio.AbstractEventLoop, sock: socket.socket, what: bytes) -> None:
    while what not in await loop.sock_recv(sock, 4096):
        pass


async def supervise(children: list[Child], stop: asyncio.Event, stop_timeout: float, on_up: OnUp) -> None:
    """Starts the children in order, keeps them running, and stops them in reverse order.

    Raises ChildFailed when one cannot even be started the first time.
    """
    watchers: list[asyncio.Task[None]] = []
    try:
        for child in children:
            await child.start()
        await on_up()
        watchers = [asyncio.ensure_future(_keep(child, stop)) for child in children]
        await stop.wait()
    finally:
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
        for child in reversed(children):
            await child.stop(stop_timeout)


async def _keep(child: Child, stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    while not stop.is_set():
        if child.process is not None:
            process = child.process
            status = await process.wait()
            if stop.is_set():
                return
            if child.renewing:
                log.info("the %s has ended, to be started anew", child.name)
                child.failures = 0
                if child.prepares:
                    await child.up.wait()
            else:
                child.failures = 0 if loop.time() - child.started > STEADY_S else child.failures + 1
                log.error("the %s ended with status %s; it is started again", child.name, status)
            if child.process is not process and child.process.returncode is None:
                continue
        await asyncio.sleep(BACKOFF_S[min(child.failures, len(BACKOFF_S) - 1)])
        try:
            await child.start()
            log.info("the %s is up again", child.name)
        except ChildFailed as error:
            log.error("%s", error)
