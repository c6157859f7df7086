# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a running ledger how it is doing. One connection, one answer, one deadline: a ledger that hangs is found out."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

from ivr.ledger.errors import LedgerUnavailable
from ivr.ledger.protocol import CLOSED, VERSION, ProtocolError, Unpacker, closed, pack

READ_BYTES = 65_536


async def ask_stats(socket: Path, *, name: str, within_s: float) -> dict[str, Any]:
    """What LedgerService.stats() gives. Raises LedgerUnavailable when there is no answer in time."""
    try:
        async with asyncio.timeout(within_s):
            return await _ask(socket, name)
    except TimeoutError:
        raise LedgerUnavailable(f"the ledger did not answer within {within_s:g} s") from None
    except (OSError, ProtocolError) as error:
        raise LedgerUnavailable(f"no ledger at {socket}: {closed(error)}") from None


async def _ask(socket: Path, name: str) -> dict[str, Any]:
    reader, writer = await asyncio.open_unix_connection(str(socket))
    try:
        hello = {"op": "hello", "v": VERSION, "worker": name, "role": "tool", "live": []}
        writer.write(pack(hello) + pack({"op": "stats"}))
        unpacker = Unpacker()
        while data := await reader.read(READ_BYTES):
            for message in unpacker.feed(data):
                if message["op"] == "refused":
                    raise ProtocolError(f"it refuses: {message['message']}")
                if message["op"] == "stats":
                    return dict(message["stats"])
        raise ProtocolError(CLOSED)
    finally:
        # Not close(): what a ledger that hangs has not read would be waited for.
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()
