# SPDX-License-Identifier: GPL-3.0-or-later
"""What the pool wants of an edge, and how it keeps an edge to it: told at once, and again until it has heard."""

import asyncio
import logging
from enum import StrEnum
from typing import Protocol

log = logging.getLogger(__name__)

AGAIN_S = 1.0
LOOK_S = 0.2
"""How often it is seen whether the edge is still the one that was told: so long a new one may know no worker."""


class Edge(Protocol):
    """Whatever spreads calls over workers. Whatever a command raises, it is given again a little later."""

    async def enable(self, worker: str) -> object:
        """New calls may go to it."""

    async def drain(self, worker: str) -> object:
        """No new calls; running ones go on."""

    async def remove(self, worker: str) -> int:
        """Out of rotation, and BYE to both sides of each of its calls. How many were ended."""

    async def run(self) -> str:
        """Another word after each start of the edge, which then knows nothing of what it was told."""


class NoEdge:
    """With one worker nobody stands before it."""

    async def enable(self, worker: str) -> None:
        """Nothing to do."""

    async def drain(self, worker: str) -> None:
        """Nothing to do: the worker itself answers 503."""

    async def remove(self, worker: str) -> int:  # noqa: ARG002
        """Nobody can end the calls of a worker that is dead."""
        return 0

    async def run(self) -> str:
        """Always the same."""
        return ""


class Wanted(StrEnum):
    """What a worker is to be to the edge."""

    IN = "in"
    DRAIN = "drain"
    OUT = "out"


class EdgeKeeper:
    """Remembers what every worker is to be, and tells the edge in order, until it has taken it."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._wanted: dict[str, Wanted] = {}
        self._told: dict[str, Wanted] = {}
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._run: str | None = None

    async def watch(self) -> None:
        """For as long as the pool lives: an edge that started anew is told everything again."""
        while True:
            try:
                run = await self._edge.run()
            except Exception as error:  # it is away; its own watcher says so
                log.debug("the edge does not answer: %s", error)
            else:
                if self._run is not None and run != self._run:
                    log.warning("the edge has started anew: it is told again which workers take calls")
                    self.again()
                self._run = run
            await asyncio.sleep(LOOK_S)

    def want(self, worker: str, what: Wanted) -> None:
        """From now on; told at once."""
        self._wanted[worker] = what
        self._told.pop(worker, None)
        if worker not in self._busy:
            self._busy[worker] = asyncio.ensure_future(self._tell(worker))

    def again(self) -> None:
        """Everything is told again."""
        for worker, what in list(self._wanted.items()):
            self.want(worker, what)

    async def settled(self, worker: str) -> None:
        """Returns when the edge has been told, or could not be."""
        task = self._busy.get(worker)
        if task is not None:
            await asyncio.wait([task], timeout=AGAIN_S)

    async def _tell(self, worker: str) -> None:
        try:
            while (what := self._wanted[worker]) is not self._told.get(worker):
                if await self._tell_once(worker, what):
                    self._told[worker] = what
                else:
                    await asyncio.sleep(AGAIN_S)
        finally:
            del self._busy[worker]

    async def _tell_once(self, worker: str, what: Wanted) -> bool:
        try:
            if what is Wanted.IN:
                await self._edge.enable(worker)
            elif what is Wanted.DRAIN:
                await self._edge.drain(worker)
            else:
                ended = await self._edge.remove(worker)
                if ended:
                    log.warning("the edge ended %d calls of %s", ended, worker)
        except Exception as error:  # whatever a client of it raises: the pool goes on without an edge
            log.error("the edge was not told to %s %s: %s", what, worker, error)
            return False
        return True

    async def close(self) -> None:
        """Stops telling."""
        for task in list(self._busy.values()):
            task.cancel()
        await asyncio.gather(*self._busy.values(), return_exceptions=True)
