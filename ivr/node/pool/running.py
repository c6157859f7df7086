# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool as a process runs it: the manager, its control socket, what looks on, and the signals."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from ivr.node.observe.observing import observe
from ivr.node.pool.control import ControlServer
from ivr.node.pool.edges import Edge
from ivr.node.pool.manager import Manager
from ivr.node.settings import Settings


async def run_pool(
    settings: Settings, edge: Edge, stop: asyncio.Event, on_ready: Callable[[], None], hangup: asyncio.Event
) -> None:
    """Runs a pool until `stop` is set, then drains it; `hangup` starts a rolling restart. Raises NurseryFailed."""
    manager = Manager(settings, edge, on_ready)
    control = ControlServer(manager, settings.pool.control)
    await manager.start()
    await control.start()
    waiting = asyncio.ensure_future(_roll_on(manager, hangup))
    observing = asyncio.ensure_future(observe(settings, manager))
    try:
        await stop.wait()
    finally:
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        await manager.stop("signal")
        await control.stop()
        observing.cancel()
        await asyncio.gather(observing, return_exceptions=True)


async def _roll_on(manager: Manager, hangup: asyncio.Event) -> None:
    while True:
        await hangup.wait()
        hangup.clear()
        manager.roll.begin()
