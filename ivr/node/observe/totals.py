# SPDX-License-Identifier: GPL-3.0-or-later
"""Media counters of all workers together. A worker that ends takes nothing with it: sums never fall."""

import logging
from collections.abc import Mapping
from typing import Any

from ivr.calls.mediatally import SIDES
from ivr.histogram import Histogram

log = logging.getLogger(__name__)

Media = dict[str, Any]


class MediaTotals:
    """Owned by the manager's loop. Workers are told apart by process id: a slot has many workers in its time."""

    def __init__(self) -> None:
        self._gone: Media | None = None
        self._live: dict[int, Media] = {}

    def last(self, pid: int, media: Media) -> None:
        """The last word of a worker that has ended."""
        if media:
            self._live[pid] = media

    def now(self, workers: Mapping[int, Media]) -> Media:
        """What all that ever were counted; `workers` are those that there are, by process id."""
        for pid in self._live.keys() - workers.keys():
            self._gone = _sum(self._gone, self._live.pop(pid))
        self._live.update({pid: media for pid, media in workers.items() if media})
        total = self._gone
        for media in self._live.values():
            total = _sum(total, media)
        return total or {}


def _sum(one: Media | None, two: Media) -> Media:
    if one is None:
        return two
    try:
        return {side: _side(one[side], two[side]) for side in SIDES}
    except (KeyError, TypeError, ValueError) as error:
        # A worker parses what strangers send: what one says is not to be trusted to be anything.
        log.error("a worker's media counters make no sense and are left out: %r", error)
        return one


def _side(one: Mapping[str, Any], two: Mapping[str, Any]) -> Media:
    made: Media = {"packets": {name: int(n) + int(two["packets"][name]) for name, n in one["packets"].items()}}
    for name in ("jitter", "loss"):
        histogram = Histogram.of(one[name])
        histogram.add(Histogram.of(two[name]))
        made[name] = histogram.as_json()
    return made
