# SPDX-License-Identifier: GPL-3.0-or-later
"""Slots that still belong to a worker without a manager: it finishes its calls there, and nobody else may start."""

import logging
from pathlib import Path

from ivr.node.pool.edges import EdgeKeeper, Wanted
from ivr.node.pool.slots import Slot, SlotLock

log = logging.getLogger(__name__)


class Leftover:
    """They are known by their locks, which the kernel lets go with the process."""

    def __init__(self, locks: Path, edge: EdgeKeeper) -> None:
        self._locks = locks
        self._edge = edge
        self.numbers: set[int] = set()

    def see(self, slot: Slot) -> bool:
        """Looks at a slot in which no worker of this manager is; whether it is taken."""
        if SlotLock(self._locks, slot.name).is_free():
            return False
        log.warning("%s still belongs to a worker without a manager: left to finish its calls", slot.name)
        self.numbers.add(slot.number)
        self._edge.want(slot.name, Wanted.DRAIN)
        return True

    def look_again(self) -> None:
        """Forgets those whose worker has ended."""
        for number in list(self.numbers):
            if SlotLock(self._locks, f"w{number}").is_free():
                self.numbers.discard(number)
                self._edge.want(f"w{number}", Wanted.OUT)
