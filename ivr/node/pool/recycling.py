# SPDX-License-Identifier: GPL-3.0-or-later
"""When a worker has served long enough. Pure."""

from dataclasses import dataclass

OVERDUE = 2
"""Past so many times its limit a worker is drained although it has calls: an edge may never leave it without."""


@dataclass(frozen=True, slots=True)
class Age:
    """What a worker has behind it. Memory in bytes; `base` is what it had after its first call, 0 before."""

    served: int
    calls: int
    memory: int
    base: int


@dataclass(frozen=True, slots=True)
class Recycling:
    """The limits: calls, and bytes of growth."""

    calls: int
    growth: int

    def due(self, age: Age) -> str | None:
        """Why this worker should make room for a new one now, or None."""
        grown = age.memory - age.base if age.base else 0
        past = max(age.served / self.calls, grown / self.growth)
        if past < 1 or (age.calls and past < OVERDUE):
            return None
        if age.served >= self.calls:
            return f"{age.served} calls"
        return f"{grown // 1_000_000} MB more than after its first call"
