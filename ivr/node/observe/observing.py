# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the pool manager meets what looks on. Light: the rest is imported in a thread, once workers take calls."""

import asyncio
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Protocol

from ivr.node.settings import Settings


class Watched(Protocol):
    """What is asked of the manager."""

    on_gone: Callable[[int, Mapping[str, Any]], None]
    """Called with a worker's process id and last statistics when its channel ends."""

    def status(self) -> dict[str, Any]:
        """Everything it knows."""


async def observe(settings: Settings, manager: Watched) -> None:
    """Serves metrics and probes until it is cancelled; returns at once where none are wanted."""
    if not settings.metrics.port:
        return
    endpoint = await asyncio.to_thread(import_module, "ivr.node.observe.endpoint")
    observatory = endpoint.Observatory(settings, manager.status)
    manager.on_gone = observatory.worker_gone
    observatory.start()
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        manager.on_gone = lambda _pid, _stats: None
        await observatory.stop()
