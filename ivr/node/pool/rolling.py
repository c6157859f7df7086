# SPDX-License-Identifier: GPL-3.0-or-later
"""A rolling restart: a new nursery from disk, then worker after worker replaced by one from it; no call is ended.

Nothing happens to the running workers before the new nursery has loaded: configuration that is refused is only said.
"""

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from ivr.flow.place import FileError
from ivr.node.ondisk import run_ivr
from ivr.node.pool.fixed import HOW, differing, fixed, moved
from ivr.node.pool.nurseries import NurseryFailed
from ivr.node.pool.pooled import Pooled, State
from ivr.node.settings import Settings

if TYPE_CHECKING:
    from ivr.node.pool.manager import Manager

log = logging.getLogger(__name__)

LOOK_S = 0.05


class RollRefused(Exception):
    """What is on disk is for another pool than the one that runs."""


class Roll:
    """At most one at a time; one that is asked for meanwhile follows."""

    def __init__(self, manager: "Manager") -> None:
        self._manager = manager
        self._task: asyncio.Task[None] | None = None
        self._again = False
        self.error: str | None = None
        """Why the last one came to nothing, or None."""

    @property
    def active(self) -> bool:
        """Whether one is under way."""
        return self._task is not None and not self._task.done()

    def begin(self) -> None:
        """Starts one, or another after the one that is under way."""
        if self.active:
            self._again = True
        else:
            self._task = asyncio.ensure_future(self._run())

    def cancel(self) -> None:
        """The node stops."""
        if self._task is not None:
            self._task.cancel()

    def status(self) -> dict[str, Any]:
        """Whether it is under way, how many workers are left to replace, and why the last one failed."""
        return {"active": self.active, "left": len(self._stale()) if self.active else 0, "error": self.error}

    def _stale(self) -> list[Pooled]:
        manager = self._manager
        return [w for _, w in sorted(manager.workers.items()) if w.generation < manager.generation]

    async def _run(self) -> None:
        manager = self._manager
        while True:
            self._again = False
            try:
                await self._load()
            except (NurseryFailed, RollRefused, OSError) as error:
                self.error = str(error)
                log.error("no rolling restart, everything goes on as it was: %s", error)
            else:
                self.error = None
                log.info("rolling restart: %d workers are replaced one after the other", len(self._stale()))
                await self._replace()
                log.info("rolling restart: done, generation %d", manager.generation)
            if not self._again:
                return

    async def _load(self) -> None:
        """Renders what new flows say, and loads a new nursery, with the code that is on disk now."""
        manager = self._manager
        await self._compare()
        # A process of its own: the nursery must stay without the threads of what speaks.
        await run_ivr("prompts", "render", "--config", str(manager.folder))
        nursery = await manager.new_nursery()
        old, manager.nursery = manager.nursery, nursery
        manager.generation += 1
        # What it has been asked for it still forks, and says so; one that hangs is the manager's to end.
        while old is not None and manager.unborn(old):
            await asyncio.sleep(LOOK_S)
        if old is not None:
            old.close()

    async def _compare(self) -> None:
        """Says which settings stay as they were. Raises RollRefused where new workers would be in other places."""
        running = self._manager.fixed
        try:
            now = fixed(await asyncio.to_thread(Settings.load, self._manager.folder))
        except FileError:
            return  # whoever loads it next says what is wrong with it
        if names := moved(running, now):
            raise RollRefused(
                f"{', '.join(names)}: no new worker can stand beside the old ones with this; to change it: {HOW}"
            )
        if left := differing(running, now):
            log.warning(
                "this manager goes on with what it was started with: %s; to change it: %s", ", ".join(left), HOW
            )

    async def _replace(self) -> None:
        while stale := self._stale():
            leaving = [w for w in stale if w.leaving is not None]
            staying = [w for w in stale if w.leaving is None and w.state is not State.GONE]
            # A quarter at a time: their calls may last, and the others carry what comes meanwhile.
            at_once = max(1, len(self._manager.workers) // 4)
            if staying and len(leaving) < at_once:
                await self._before(staying[0])
                self._manager.leave(staying[0], "upgrade")
            else:
                await asyncio.sleep(LOOK_S)

    async def _before(self, worker: Pooled) -> None:
        """Where a slot is free, the new worker is ready before the old one takes no more calls."""
        manager = self._manager
        free = manager.balance.free_slots()
        if not free or not worker.serves or manager.orders.draining:
            return
        new = manager.start_worker(free[0])
        while new is not None and new.state is State.STARTING:
            await asyncio.sleep(LOOK_S / 5)
