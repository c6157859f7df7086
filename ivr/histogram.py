# SPDX-License-Identifier: GPL-3.0-or-later
"""Observations by size, as processes count them and tell them to each other."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Histogram:
    """Observations by upper bound, in the unit of the bounds; the last count is of what is above all of them."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    sum: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """One more."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def add(self, other: "Histogram") -> None:
        """All that another with the same bounds counted. Raises ValueError for other bounds."""
        if other.bounds != self.bounds:
            raise ValueError(f"bounds {other.bounds} are not {self.bounds}")
        self.counts = [one + two for one, two in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum

    def as_json(self) -> dict[str, Any]:
        """As it goes over a socket."""
        return {"bounds": list(self.bounds), "counts": list(self.counts), "sum": self.sum}

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Histogram":
        """From `as_json`. Raises KeyError, TypeError or ValueError for what it never gave."""
        made = cls(tuple(map(float, told["bounds"])), [int(n) for n in told["counts"]], float(told["sum"]))
        if len(made.counts) != len(made.bounds) + 1:
            raise ValueError(f"{len(made.counts)} counts for {len(made.bounds)} bounds")
        return made
