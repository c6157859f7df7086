# SPDX-License-Identifier: GPL-3.0-or-later
"""A ledger in a process of its own, to be killed. Says `ready` on stdout."""

import asyncio
import sys
from pathlib import Path

from ivr.ledger.running import run_ledger
from ivr.ledger.service import ServiceSettings


async def main(home: Path) -> None:
    settings = ServiceSettings(home / "s", checkpoint_events=20, reclaim_seconds=0.05, start_grace_seconds=0.05)
    await run_ledger(
        home / "log.sqlite",
        home / "keys",
        settings,
        lambda _call, _recording: [],
        stop=asyncio.Event(),
        on_ready=lambda: print("ready", flush=True),
    )


asyncio.run(main(Path(sys.argv[1])))
