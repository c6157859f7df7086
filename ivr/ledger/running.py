# SPDX-License-Identifier: GPL-3.0-or-later
"""A ledger's life, from the opened log to the closed one."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ivr.ledger.database import Database
from ivr.ledger.keys import load_ledger_key, load_pseudonym_key
from ivr.ledger.log import Log
from ivr.ledger.opencalls import Inventory
from ivr.ledger.service import LedgerService, ServiceSettings

TICK_S = 1.0


async def run_ledger(
    db: Database,
    keys: Path,
    settings: ServiceSettings,
    inventory: Inventory,
    *,
    stop: asyncio.Event,
    on_ready: Callable[[], None] = lambda: None,
    on_tick: Callable[[], None] = lambda: None,
) -> None:
    """Run the ledger until `stop` is set. `on_tick` is called every second while it is healthy (watchdog).

    Raises LedgerMissing before it listens, LedgerFatal when the log cannot be written any more.
    """
    log = Log.open(db, load_ledger_key(keys), load_pseudonym_key(keys), personal=settings.personal)
    service = LedgerService(log, settings, inventory)
    try:
        await service.start()
    except BaseException:
        log.close()
        raise
    on_ready()
    stopped = asyncio.create_task(stop.wait())
    ends: set[asyncio.Future[Any]] = {stopped, service.failed}
    try:
        while not stopped.done() and not service.failed.done():
            service.tick()
            on_tick()
            await asyncio.wait(ends, timeout=TICK_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        await service.stop()
    if service.failed.done():
        raise service.failed.result()
