# SPDX-License-Identifier: GPL-3.0-or-later
"""Writers that append whole calls to a ledger, each on a connection of its own and waiting for every acknowledgement.

A process of its own: `python -m bench.writers SOCKET WRITERS SECONDS < calls.json > result.json`.
"""

import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import uvloop

from ivr.ledger.client import LedgerClient
from ivr.ledger.ids import uuid7

Template = Sequence[Mapping[str, Any]]


async def _write(client: LedgerClient, template: Template, until: float, waits: list[float]) -> None:
    """Calls, one after the other; the last one is finished, so that none is left to be lost."""
    while time.monotonic() < until:
        call, recording = uuid7(), uuid7()
        for event in template:
            data = {**event["data"], "recording": recording} if "recording" in event["data"] else event["data"]
            asked = time.perf_counter()
            await client.append(event["type"], call=call, data=data, personal=event["personal"])
            waits.append(time.perf_counter() - asked)


async def _run(socket: Path, writers: int, seconds: float, template: Template) -> dict[str, object]:
    clients = [await LedgerClient.connect(socket, f"bench-{n}", role="tool") for n in range(writers)]
    waits: list[float] = []
    began = time.monotonic()
    await asyncio.gather(*(_write(client, template, began + seconds, waits) for client in clients))
    took = time.monotonic() - began
    for client in clients:
        await client.close()
    return {"events": len(waits), "seconds": took, "waits_ms": [round(wait * 1000, 3) for wait in waits]}


def main() -> None:
    socket, writers, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    template = json.load(sys.stdin)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        json.dump(runner.run(_run(socket, writers, seconds, template)), sys.stdout)


if __name__ == "__main__":
    main()
