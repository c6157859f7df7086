# SPDX-License-Identifier: GPL-3.0-or-later
"""A node as its parts tell of it, for tests of what operators see."""

from dataclasses import replace
from typing import Any

from ivr.calls.mediatally import MediaTally
from ivr.ledger.log import Entry
from ivr.ledger.stats import LedgerStats
from ivr.node.edge.control import EdgeStatus, PlaceState, PlaceStatus
from ivr.node.observe.snapshot import Snapshot
from ivr.sip.quality import Quality

CALL = "01a2007f-7ac7-75bd-aa28-810c422c5cd9"


def call(number: int = 0, **changed: object) -> dict[str, Any]:
    """A bridged, recorded call."""
    return {
        "call": f"{CALL[:-4]}{number:04d}",
        "edge": "",
        "flow": "support",
        "state": "bridged",
        "recorded": "yes",
        "parties": ["caller", "agent-1"],
        "reason": "all_cleared",
        "since": 940.0,
    } | changed


def media(received: int = 100, lost: int = 0) -> dict[str, Any]:
    """What a worker counted of one caller's leg."""
    tally = MediaTally()
    tally.leg_ended("caller", Quality(received, lost, 1, 2, 0.004))
    return tally.as_json()


def worker(name: str = "w0", *calls: dict[str, Any], **changed: object) -> dict[str, Any]:
    """A worker as the manager tells of it."""
    return {
        "name": name,
        "pid": 1000 + int(name[1:]),
        "state": "ready",
        "leaving": None,
        "calls": [one["call"] for one in calls],
        "served": 7,
        "rss": 60_000_000,
        "age_s": 61.0,
        "silent_s": 0.3,
        "generation": 1,
        "sip_port": 15000,
        "stats": {"calls": list(calls), "lag_s": [0.7 for one in calls if one["recorded"] == "yes"], "media": media()},
    } | changed


def pool(*workers: dict[str, Any], **changed: object) -> dict[str, Any]:
    """Manager.status()."""
    counts = {"started": 3, "ready": 3, "died": 1, "hung": 1, "recycled": 0, "shrunk": 0}
    return {
        "state": "ready",
        "max": 4,
        "calls_per_worker": 2,
        "counts": counts,
        "workers": list(workers or (worker("w0", call()),)),
    } | changed


def ledger(*entries: Entry, **changed: object) -> dict[str, Any]:
    """LedgerService.stats()."""
    stats = LedgerStats()
    for entry in entries:
        stats.durable(entry, 0.004)
    state = {
        "writing": True,
        "queue": 0,
        "oldest_s": 0.0,
        "size": 12,
        "unsealed": 3,
        "unsealed_s": 4.0,
        "checkpoint_age_s": 9.0,
        "workers": 1,
    }
    return stats.as_json() | state | changed


def edge(**counters: int) -> EdgeStatus:
    """An edge with one worker that gets calls."""
    places = (PlaceStatus("w0", "sip:127.0.0.1:15000", PlaceState.ACTIVE, 1),)
    return EdgeStatus("run", places, (), counters)


def snapshot(**changed: Any) -> Snapshot:
    """A node that is well, with one recorded call."""
    well = Snapshot(1000.0, "0.1.0", "example.org/log", pool=pool(), ledger=ledger(), media=media(), free_bytes=10**10)
    return replace(well, **changed)
