# SPDX-License-Identifier: GPL-3.0-or-later
"""How many workers there are, and which is replaced: decided from what is, after every change and at every tick."""

import asyncio
import logging
from typing import TYPE_CHECKING

from ivr.node.pool.pooled import Pooled, State
from ivr.node.pool.recycling import Recycling
from ivr.node.pool.sizing import Sizer
from ivr.node.pool.slots import Slot
from ivr.node.settings import Settings

if TYPE_CHECKING:
    from ivr.node.pool.manager import Manager

log = logging.getLogger(__name__)


class Balance:
    """Starts what is missing, lets go of what is not needed or old."""

    def __init__(self, manager: "Manager", settings: Settings) -> None:
        pool = settings.pool
        self._manager = manager
        self._loop = asyncio.get_running_loop()
        self._sizer = Sizer(settings.limits.calls, pool.min_spare, pool.max, pool.idle_time.seconds)
        self._recycling = Recycling(pool.recycle_calls, pool.recycle_growth * 1_000_000)
        self._soon: asyncio.Handle | None = None

    def soon(self) -> None:
        """After a change, once for all changes of this turn of the loop."""
        if self._soon is None:
            self._soon = self._loop.call_soon(self._now)

    def _now(self) -> None:
        self._soon = None
        self.decide()

    def free_slots(self) -> list[Slot]:
        """Slots in which a worker may be started now."""
        manager, now = self._manager, self._loop.time()
        taken = manager.workers.keys() | manager.orders.held | manager.leftover.numbers
        return [s for s in manager.slots if s.number not in taken and manager.crashes.may_start(s.number, now)]

    def decide(self) -> None:
        """Now. Nothing while the node stops or is drained."""
        manager = self._manager
        if manager.stopping or manager.orders.draining:
            return
        serving = [w for w in manager.workers.values() if w.serves and w.leaving is None]
        missing = self._sizer.step(self._loop.time(), len(serving), sum(len(w.calls) for w in serving))
        starting = sum(w.state is State.STARTING for w in serving)
        for slot in self.free_slots()[: min(max(0, missing), self._sizer.at_once - starting)]:
            if manager.start_worker(slot) is None:
                break
        if missing < 0 and not manager.roll.active:
            for worker in sorted(serving, key=lambda w: (len(w.calls), -w.slot.number))[:-missing]:
                manager.counts["shrunk"] += 1
                log.info("%s is not needed any more", worker.name)
                manager.leave(worker, "shrink")
        if not missing:
            self._recycle(serving)
        if not manager.workers and len(manager.leftover.numbers | manager.orders.held) == len(manager.slots):
            manager.say_ready()

    def _recycle(self, serving: list[Pooled]) -> None:
        """One at a time, so that the others carry on."""
        manager = self._manager
        if manager.roll.active or any(w.leaving == "recycle" for w in manager.workers.values()):
            return
        for worker in serving:
            if worker.state is State.READY and (why := self._recycling.due(worker.age)):
                manager.counts["recycled"] += 1
                log.info("%s is replaced: %s", worker.name, why)
                manager.leave(worker, "recycle")
                return
