# SPDX-License-Identifier: GPL-3.0-or-later
"""The pool manager: has the nursery fork workers, replaces the dead, kills the hung, grows, shrinks, recycles, drains.

A worker that dies is noticed by the end of its channel, which the kernel tells within its exit. How many
there are is decided in `Balance`, from what is, after every change and at every tick.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ivr.node.pool.balance import Balance
from ivr.node.pool.crashes import Crashes
from ivr.node.pool.edges import Edge, EdgeKeeper, Wanted
from ivr.node.pool.fixed import fixed
from ivr.node.pool.leftover import Leftover
from ivr.node.pool.nurseries import Nursery, NurseryFailed
from ivr.node.pool.orders import Orders
from ivr.node.pool.pooled import Pooled, State, kill_process
from ivr.node.pool.rolling import Roll
from ivr.node.pool.slots import Slot, slots
from ivr.node.pool.vigil import Vigil
from ivr.node.settings import Settings

log = logging.getLogger(__name__)

TICK_S = 0.5
START_S = 40.0
"""How long a worker may take from fork to ready; it waits 15 s for the ledger by itself."""

AGAIN_S = (0.0, 0.5, 1.0, 2.0, 5.0)
"""Before a nursery is started again, by how many were since the last worker became ready."""

STOP_S = 15.0
"""How long a worker without calls may take to end."""

GRACE_S = 20.0
"""How much longer than drain_timeout a worker may take to end with calls."""


class Manager:
    """One for each server's folder. Create on the loop, `start`, `stop`."""

    def __init__(self, settings: Settings, edge: Edge, on_ready: Callable[[], None]) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._on_ready: Callable[[], None] | None = on_ready
        self.edge = EdgeKeeper(edge)
        self.slots = slots(settings)
        self.fixed = fixed(settings)
        """Settings that change only with a manager of their own."""
        self.workers: dict[int, Pooled] = {}
        self.orders = Orders(self)
        self.stopping = False
        self.generation = 1
        self.nursery: Nursery | None = None
        self.on_gone: Callable[[int, Mapping[str, Any]], None] = lambda _pid, _stats: None
        """Told of each worker that ended, with its last statistics."""
        self.counts = {"started": 0, "ready": 0, "died": 0, "hung": 0, "recycled": 0, "shrunk": 0}
        self.leftover = Leftover(self.locks, self.edge)
        self.crashes = Crashes()
        self.balance = Balance(self, settings)
        self._vigil = Vigil(self._loop.time(), TICK_S)
        self._ended: dict[int, str] = {}
        self._nursery_failures = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._empty = asyncio.Event()
        self.roll = Roll(self)

    # -- life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Loads the nursery and starts the first workers. Raises NurseryFailed."""
        self.locks.mkdir(parents=True, exist_ok=True)
        for slot in self.slots:
            if not self.leftover.see(slot) and self._settings.pool.edge:
                self.edge.want(slot.name, Wanted.OUT)
        if self._settings.pool.edge:
            self.spawn(self.edge.watch())
        self.nursery = await self.new_nursery()
        self._vigil = Vigil(self._loop.time(), TICK_S)
        self._tick()

    @property
    def locks(self) -> Path:
        """The folder of the slots' locks."""
        return self._settings.pool.control.parent

    @property
    def folder(self) -> Path:
        """The server's."""
        return self._settings.folder

    async def new_nursery(self) -> Nursery:
        """A nursery with what is on disk now. Raises NurseryFailed."""
        nursery = Nursery(self.folder, self._forked, self._exited, lambda: self._nursery_gone(nursery))
        await nursery.start()
        log.info("the nursery (pid %d) has loaded code, configuration and flows", nursery.pid)
        return nursery

    async def stop(self, reason: str) -> None:
        """Drains every worker; those that have not ended in drain_timeout and a grace are killed."""
        self.stopping = True
        self.roll.cancel()
        for place, worker in enumerate(list(self.workers.values())):
            self.edge.want(worker.name, Wanted.DRAIN)
            worker.stop(reason, within=self._finish_s, say=place == 0)
        self._see_empty()
        await self._empty.wait()
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.edge.close()
        if self.nursery is not None:
            self.nursery.kill()

    @property
    def _finish_s(self) -> float:
        """How long a worker that was told to end may take with calls: it ends them itself after drain_timeout."""
        return self._settings.limits.drain_timeout.seconds + GRACE_S

    def spawn(self, work: Any) -> None:
        """Runs a coroutine that ends with the manager."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _see_empty(self) -> None:
        if self.stopping and not self.workers:
            self._empty.set()

    # -- the nursery's word --------------------------------------------------------------------------------------

    def _forked(self, number: int, pid: int, handle: int) -> None:
        worker = self.workers.get(number)
        if worker is None or worker.pid:
            log.error("the nursery forked %d for w%d, which nobody waits for: killed", pid, number)
            kill_process(handle)
            os.close(handle)
            return
        worker.born(pid, handle, lambda: self._process_ended(worker))
        worker.theirs.close()

    def _exited(self, pid: int, status: int) -> None:
        """The nursery's own children end twice for us: by their handle, which is first, and by its word on how."""
        ended = self._ended.pop(pid, None)
        if ended is not None:
            log.info("%s (pid %d) has ended %s", ended, pid, _how(status))

    def unborn(self, nursery: Nursery) -> list[Pooled]:
        """Workers that it was asked for and has not yet told of."""
        return [worker for worker in self.workers.values() if worker.asked is nursery and not worker.pid]

    def _nursery_gone(self, nursery: Nursery, how: str = "died") -> None:
        """Also of one that a rolling restart has replaced, while workers of it are to come."""
        nursery.kill()
        current = nursery is self.nursery
        if current:
            self.nursery = None
        for worker in self.unborn(nursery):
            self._forget(worker)
            self.leftover.see(worker.slot)  # there may be a process all the same: it drains by itself
        if current and not self.stopping:
            log.error("the nursery (pid %d) %s; its workers go on, and a new one is started", nursery.pid, how)
            self._ended.clear()
            self.spawn(self._nursery_again())

    async def _nursery_again(self) -> None:
        while self.nursery is None:
            # At once the first time; one that loads and then dies must not be loaded again and again without a pause.
            await asyncio.sleep(AGAIN_S[min(self._nursery_failures, len(AGAIN_S) - 1)])
            self._nursery_failures += 1
            try:
                nursery = await self.new_nursery()
            except (NurseryFailed, OSError) as error:
                log.error("no nursery: %s", error)
                continue
            self._take_nursery(nursery)
        self.balance.soon()

    def _take_nursery(self, nursery: Nursery) -> None:
        if self.nursery is None:
            self.nursery = nursery
        else:  # a rolling restart was faster
            nursery.close()

    # -- a worker's life -----------------------------------------------------------------------------------------

    def start_worker(self, slot: Slot) -> Pooled | None:
        """Has one forked for this free slot. None when there is no nursery at the moment."""
        if self.nursery is None:
            return None
        worker = Pooled(slot, self.generation, self)
        worker.asked = self.nursery
        if not self.nursery.fork(slot.number, worker.theirs):
            worker.close()
            self._nursery_gone(self.nursery, "takes no request")
            return None
        self.workers[slot.number] = worker
        self.counts["started"] += 1
        return worker

    def worker_changed(self, worker: Pooled) -> None:
        """A call of it came or went, or it said that it takes no new ones, or again does."""
        self._let_go(worker)
        self.orders.look()
        self.balance.soon()

    def _let_go(self, worker: Pooled) -> None:
        """One that leaves ends with its last call, by its own word: a call may have come to it before our word did."""
        if worker.leaving and worker.state is State.DRAINING and worker.closed and not worker.calls:
            worker.stop(worker.leaving, within=STOP_S)

    def worker_ready(self, worker: Pooled) -> None:
        """It takes calls, for the first time, or would if it had not been drained meanwhile."""
        took = (self._loop.time() - worker.started) * 1000
        what = "takes calls" if worker.state is State.READY else "has started, drained"
        log.info("%s (pid %d) %s, %.0f ms after it was asked for", worker.name, worker.pid, what, took)
        self.counts["ready"] += 1
        self._nursery_failures = 0
        self.crashes.started()
        if self.orders.draining or self.stopping or worker.slot.number in self.orders.held:
            worker.drain("drain")
        if worker.state is State.READY:
            self.edge.want(worker.name, Wanted.IN)
        self.say_ready()
        self.balance.soon()

    def say_ready(self) -> None:
        """Once: to whoever started the manager."""
        if self._on_ready is not None:
            self._on_ready()
            self._on_ready = None

    def leave(self, worker: Pooled, why: str) -> None:
        """Takes a worker out of service in order: no new calls, its own finish, then it ends and its slot is free."""
        if worker.leaving is None and worker.state in (State.STARTING, State.READY, State.DRAINING):
            worker.leaving = why
            self.edge.want(worker.name, Wanted.DRAIN)
            self.spawn(self._leave(worker, why))

    async def _leave(self, worker: Pooled, why: str) -> None:
        # The edge first: a call that it sends now would only come back with 503.
        await self.edge.settled(worker.name)
        worker.drain(why)
        self._let_go(worker)

    def worker_gone(self, worker: Pooled) -> None:
        """The end of its channel: whatever it had is lost now."""
        self.edge.want(worker.name, Wanted.OUT)
        self.on_gone(worker.pid, worker.stats)
        if worker.was is not State.STOPPING or worker.calls:
            self.counts["died"] += 1
            lost = f"calls lost: {len(worker.calls)}"
            log.error("%s (pid %d) died: %s", worker.name, worker.pid, worker.blamed or lost)
            now = self._loop.time()
            pause = self.crashes.died(worker.slot.number, now, now - worker.started, worker.ready_at is not None)
            if pause:
                log.error("%s is started again in %.1f s: it has died again and again", worker.name, pause)
                self._loop.call_later(pause, self.balance.soon)
        if not worker.pid and worker.blamed:  # otherwise the nursery's word on its process is under way
            self._forget(worker)
        self.balance.soon()

    def _process_ended(self, worker: Pooled) -> None:
        """Its process handle says so; the channel may not have been read to its end yet."""
        worker.take_in()
        self._ended[worker.pid] = f"{worker.name}, after {worker.served} calls,"
        status = worker.reaped()
        if status is not None:
            self._exited(worker.pid, status)
        self._forget(worker)

    def _forget(self, worker: Pooled) -> None:
        worker.close()
        if self.workers.get(worker.slot.number) is worker:
            del self.workers[worker.slot.number]
        self.orders.look()
        self._see_empty()
        self.balance.soon()

    # -- every tick ----------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK_S, self._tick)
        now = self._loop.time()
        self._vigil.look(now)
        for worker in list(self.workers.values()):
            self.watch(worker, now)
            self._let_go(worker)
        self.leftover.look_again()
        if self.nursery is not None:
            self.nursery.reap()
        self.balance.decide()

    def watch(self, worker: Pooled, now: float) -> None:
        """Kills it when it is silent, not ready, or not ended for too long. At every tick; `now` is the loop's time."""
        if worker.asked and not worker.pid and self._vigil.silent_s(now, worker.started) > START_S:
            log.error("%s was not forked in %.0f s", worker.name, START_S)
            self._nursery_gone(worker.asked, "hung and was killed")
        if worker.blamed or worker.state is State.GONE:
            return
        if worker.state is State.STARTING:
            if self._vigil.silent_s(now, worker.started) > START_S:
                worker.kill(f"it was not ready after {START_S:.0f} s and was killed")
        elif silent := self._hung_s(worker, now):
            self.counts["hung"] += 1
            worker.kill(f"it hung for {silent:.1f} s and was killed; calls lost: {len(worker.calls)}")
        elif worker.state is State.STOPPING:
            if worker.calls:  # it ends after them
                worker.stop_by = max(worker.stop_by, min(now + STOP_S, worker.stopped_at + self._finish_s))
            if now > worker.stop_by:
                log.error("%s (pid %d) did not end in time: killed", worker.name, worker.pid)
                worker.kill("it did not end in time and was killed")

    def _hung_s(self, worker: Pooled, now: float) -> float:
        """For how long it has given no sign of life when that is too long, else 0."""
        patience = self._settings.pool.heartbeat.seconds
        if self._vigil.silent_s(now, worker.alive_at) > patience:
            worker.take_in()  # what it said and nobody has read yet
        silent = self._vigil.silent_s(now, worker.alive_at)
        # Whoever was told to end and has no call is silent while it closes PJSIP: `stop_by` is the limit for that.
        ends = worker.state is State.GONE or (worker.state is State.STOPPING and not worker.calls)
        return silent if silent > patience and not ends else 0.0

    # -- how it stands -------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether some worker takes calls and the node is not drained."""
        return self.state == "ready"

    @property
    def state(self) -> str:
        """In one word, for people and metrics."""
        if self.stopping:
            return "stopping"
        if self.orders.draining:
            return "draining"
        return "ready" if any(w.state is State.READY for w in self.workers.values()) else "starting"

    def status(self) -> dict[str, Any]:
        """For people and metrics: everything the manager knows."""
        now = self._loop.time()
        pool = self._settings.pool
        return {
            "state": self.state,
            "generation": self.generation,
            "rolling": self.roll.status(),
            "nursery": self.nursery.pid if self.nursery is not None else None,
            "max": pool.max,
            "min_spare": pool.min_spare,
            "settings": self.fixed,
            "calls_per_worker": self._settings.limits.calls,
            "held": sorted(f"w{number}" for number in self.orders.held),
            "leftover": sorted(f"w{number}" for number in self.leftover.numbers),
            "counts": dict(self.counts),
            "workers": [worker.status(now) for _, worker in sorted(self.workers.items())],
        }


def _how(status: int) -> str:
    return f"by signal {-status}" if status < 0 else f"with status {status}"
