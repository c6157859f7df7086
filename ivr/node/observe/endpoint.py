# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP endpoint of a node, on the manager's event loop: /metrics, /healthz and /readyz.

An answer of /healthz is the proof that this loop turns, for it comes from there. A port that is taken costs the node
its metrics and nothing else: it is tried again, and calls go on.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, cast

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from ivr.node.observe.alarmwatch import AlarmWatch
from ivr.node.observe.door import Door
from ivr.node.observe.gather import Gatherer, PoolStatus
from ivr.node.observe.metrics import text_of
from ivr.node.observe.readiness import missing
from ivr.node.settings import Settings

log = logging.getLogger(__name__)

AGAIN_S = 10.0
WATCHED_FILE = "watch.prom"
"""Beside the ledger's socket: what `ivr log watch --gauges` left there."""

MEDIA_S = 2.0
"""How often counters of workers are taken in; a worker sends them so often."""


class Observatory:
    """One for each manager. Create on the loop, `start`, `stop`."""

    def __init__(self, settings: Settings, pool: PoolStatus) -> None:
        self._settings = settings
        self._watch = AlarmWatch(
            settings.folder,
            settings.metrics.watch_interval.seconds,
            settings.storage.database,
            settings.ledger.socket.with_name(WATCHED_FILE),
        )
        self._gatherer = Gatherer(settings, pool, alarms=lambda: self._watch.text)
        self._began = time.monotonic()
        self._door = Door()
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._task: asyncio.Task[None] | None = None
        self._media: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Listens soon. Nothing at all with metrics.port 0."""
        if self._settings.metrics.port:
            self._task = asyncio.create_task(self._listen())
            self._watch.start()
            self._note_media()

    async def stop(self) -> None:
        """Closes."""
        if self._media is not None:
            self._media.cancel()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._watch.stop()
        if self._server is not None:
            self._server.close()
        if self._runner is not None:
            await self._runner.cleanup()
        self._gatherer.close()

    def worker_gone(self, pid: int, stats: Mapping[str, Any]) -> None:
        """What it counted stays in the sums."""
        self._gatherer.worker_gone(pid, stats)

    def _note_media(self) -> None:
        self._media = asyncio.get_running_loop().call_later(MEDIA_S, self._note_media)
        self._gatherer.note_media()

    async def _listen(self) -> None:
        address, port = self._settings.metrics.address, self._settings.metrics.port
        self._runner = web.AppRunner(self._app(), access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        server = self._door.lets(cast(Callable[[], asyncio.Protocol], self._runner.server))
        told = False
        while True:
            try:
                self._server = await asyncio.get_running_loop().create_server(server, address, port)
                break
            except OSError as error:
                if not told:
                    what = error.strerror or error
                    log.error("no metrics on %s:%d: %s; tried again every %.0f s", address, port, what, AGAIN_S)
                told = True
                await asyncio.sleep(AGAIN_S)
        log.info("metrics on http://%s:%d/metrics", address, port)

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=1024, middlewares=[self._door.middleware])
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        return app

    async def _metrics(self, _request: web.Request) -> web.Response:
        # In a thread: what takes milliseconds there would keep a dead worker's slot from being freed.
        body = await asyncio.to_thread(text_of, await self._gatherer.snapshot())
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.json_response({"healthy": True, "uptime_s": round(time.monotonic() - self._began, 1)})

    async def _readyz(self, _request: web.Request) -> web.Response:
        lacks = missing(await self._gatherer.snapshot())
        body = {"ready": not lacks, "missing": [one.as_json() for one in lacks]}
        return web.json_response(body, status=503 if lacks else 200)
