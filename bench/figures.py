# SPDX-License-Identifier: GPL-3.0-or-later
"""A measured figure with its percentiles, its target and the verdict."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import ceil
from statistics import median


class Verdict(StrEnum):
    """What a figure says about its target. `NONE`: it has no target, or nothing was measured."""

    MET = "met"
    MISSED = "missed"
    NONE = "-"


class Against(StrEnum):
    """Which number of the figure the target is about."""

    MEDIAN = "median"
    P95 = "p95"
    P99 = "p99"


@dataclass(frozen=True, slots=True)
class Target:
    """A limit for one of the percentiles: at most, or (for rates) at least."""

    limit: float
    against: Against = Against.MEDIAN
    at_least: bool = False

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g} {self.against}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table. `values` are single measurements in `unit`."""

    name: str
    unit: str
    values: Sequence[float]
    target: Target | None = None
    note: str = ""
    group: str = ""
    digits: int = field(default=1)

    @property
    def n(self) -> int:
        return len(self.values)

    def at(self, against: Against) -> float | None:
        """The percentile, by nearest rank: with few values p99 is the greatest of them. None without values."""
        if not self.values:
            return None
        if against is Against.MEDIAN:
            return median(self.values)
        share = 0.95 if against is Against.P95 else 0.99
        ordered = sorted(self.values)
        return ordered[max(0, ceil(share * len(ordered)) - 1)]

    @property
    def verdict(self) -> Verdict:
        if self.target is None or not self.values:
            return Verdict.NONE
        got = self.at(self.target.against) or 0.0
        met = got >= self.target.limit if self.target.at_least else got <= self.target.limit
        return Verdict.MET if met else Verdict.MISSED

    def as_json(self) -> dict[str, object]:
        """Everything, the single values included, for a program to compare runs with."""
        return {
            "group": self.group,
            "name": self.name,
            "unit": self.unit,
            "n": self.n,
            **{name.value: _rounded(self.at(name)) for name in Against},
            "max": _rounded(max(self.values, default=None)),
            "target": str(self.target) if self.target else None,
            "verdict": self.verdict.value,
            "note": self.note,
            "values": [_rounded(value) for value in self.values],
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
