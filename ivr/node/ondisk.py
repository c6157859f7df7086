# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs an `ivr` command with the code that is on disk now, which may be newer than the code that runs."""

import asyncio
import os
import sys

from ivr.node.process import SUPERVISED

MOST_S = 300.0

_OURS = ("NOTIFY_SOCKET", SUPERVISED)


async def run_ivr(*arguments: str) -> None:
    """Waits for its end, at most five minutes. Raises OSError with its last words when it failed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ivr", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={name: value for name, value in os.environ.items() if name not in _OURS},
    )
    try:
        async with asyncio.timeout(MOST_S):
            said, _ = await process.communicate()
    except (TimeoutError, asyncio.CancelledError):
        process.kill()
        raise
    if process.returncode:
        lines = said.decode(errors="replace").strip().splitlines() or ["no word of why"]
        raise OSError(f"ivr {' '.join(arguments[:2])}: {lines[-1]}")
