# SPDX-License-Identifier: GPL-3.0-or-later
"""Has `ivr log watch` look at log and files now and then, in a process of its own: it reads every name there is."""

import asyncio
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)

NICENESS = 15
LONGEST_S = 600.0
"""A look that takes longer is given up; the time of the last one then says how old the gauges are."""


class AlarmWatch:
    """`text` is what was found last, in Prometheus's text format; empty before the first look.

    Where the pool may not read the log, as under systemd, `ivr-watch.timer` looks and leaves what it found in `left`.
    """

    def __init__(self, folder: Path, interval_s: float, database: object, left: Path) -> None:
        """`database`: the log's file, or its address elsewhere."""
        self._folder = folder
        self._left = left
        self._interval = interval_s if not isinstance(database, Path) or os.access(database, os.R_OK) else 0.0
        self._text = ""
        self._task: asyncio.Task[None] | None = None

    @property
    def text(self) -> str:
        """What was found last, whoever looked."""
        try:
            return self._left.read_text()
        except OSError:
            return self._text

    def start(self) -> None:
        """Looks at once, then after every interval. Nothing for an interval of 0."""
        if self._interval:
            self._task = asyncio.create_task(self._keep_looking())

    async def stop(self) -> None:
        """No look any more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _keep_looking(self) -> None:
        while True:
            try:
                self._text = await self._look()
            except (OSError, TimeoutError) as error:
                log.error("log and files were not looked at for alarms: %s", error or "it took too long")
            await asyncio.sleep(self._interval)

    async def _look(self) -> str:
        process = await asyncio.create_subprocess_exec(
            *("nice", "-n", str(NICENESS), sys.executable, "-m", "ivr"),
            *("log", "watch", "--prometheus", "--config", str(self._folder)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(LONGEST_S):
                out, said = await process.communicate()
        except BaseException:
            with suppress(ProcessLookupError):
                process.kill()  # nice has become the command by then
            await process.communicate()
            raise
        if process.returncode:
            raise OSError(said.decode(errors="replace").strip()[-500:] or f"it ended with {process.returncode}")
        return out.decode()
