# SPDX-License-Identifier: GPL-3.0-or-later
"""What the operator wants of a pool: workers, or all of it, drained and undrained, and single calls ended."""

import logging
from typing import TYPE_CHECKING

from ivr.node.pool.edges import Wanted
from ivr.node.pool.pooled import Pooled, State

if TYPE_CHECKING:
    from ivr.node.pool.manager import Manager

log = logging.getLogger(__name__)


class Orders:
    """Remembers what is drained, for workers that start later, until the manager itself ends."""

    def __init__(self, manager: "Manager") -> None:
        self._manager = manager
        self.held: set[int] = set()
        """Slots that were drained by name."""
        self.draining = False
        """The node was drained."""
        self._awaited: dict[str, set[int]] = {}
        """Drains whose last call has not ended, with their slots."""

    def drain(self, what: str, by: str) -> list[str]:
        """`node` or a worker's name; the names of the workers that drain. `by`: who, as logged. Raises LookupError."""
        numbers = self._numbers(what)
        if what == "node":
            self.draining = True
        else:
            self.held |= numbers
        named = self._named(numbers)
        up = sum(len(worker.calls) for worker in named)
        told = "the node takes no new calls, they get 503" if what == "node" else f"{what} takes no new calls"
        log.warning("drained by %s: %s; calls that are up and go on: %d", by, told, up)
        for place, worker in enumerate(named):
            self._manager.edge.want(worker.name, Wanted.DRAIN)
            worker.drain("drain", say=what == "node" and place == 0)
        self._awaited[what] = numbers
        self.look()
        return [worker.name for worker in named]

    def undrain(self, what: str, by: str) -> list[str]:
        """The opposite. Undraining the node leaves workers drained that were drained by name. Raises LookupError."""
        numbers = self._numbers(what)
        self._awaited.pop(what, None)
        if what == "node":
            self.draining = False
            numbers -= self.held
            log.warning("undrained by %s: the node takes new calls again", by)
        else:
            self.held -= numbers
            but = " once the node is undrained" if self.draining else ""
            log.warning("undrained by %s: %s takes new calls again%s", by, what, but)
        if not self.draining:
            for worker in self._named(numbers):
                worker.undrain()
                if worker.state is State.READY and worker.leaving is None:
                    self._manager.edge.want(worker.name, Wanted.IN)
        self._manager.balance.soon()
        return [worker.name for worker in self._named(numbers)]

    def look(self) -> None:
        """Says once of each drain that its last call has ended. After every change of a worker, or its end."""
        for what, numbers in list(self._awaited.items()):
            if all(worker.closed and not worker.calls for worker in self._named(numbers)):
                del self._awaited[what]
                log.warning("%s is drained: no call is left", "the node" if what == "node" else what)

    def _numbers(self, what: str) -> set[int]:
        if what == "node":
            return {slot.number for slot in self._manager.slots}
        found = {slot.number for slot in self._manager.slots if slot.name == what}
        if not found:
            raise LookupError(f"there is no {what!r} here: `node`, or w0 to w{len(self._manager.slots) - 1}")
        return found

    def _named(self, numbers: set[int]) -> list[Pooled]:
        return [worker for number, worker in sorted(self._manager.workers.items()) if number in numbers]

    def end_call(self, call: str, reason: str) -> bool:
        """Ends one call, whichever worker has it."""
        return any(worker.end_call(call, reason) for worker in self._manager.workers.values())
