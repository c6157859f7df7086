# SPDX-License-Identifier: GPL-3.0-or-later
"""One frame of `ivr top`: what the screen shows, as plain values, so that a program can have it too."""

from collections.abc import Mapping
from typing import Any

from ivr.histogram import Histogram
from ivr.node.edge.status import as_json as edge_as_json
from ivr.node.observe.snapshot import Snapshot

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def frame(snapshot: Snapshot, problems: list[str], before: Snapshot | None = None) -> dict[str, Any]:
    """Latencies are those since `before`, or since the ledger's start when nothing happened. Times in seconds."""
    pool = snapshot.pool
    return {
        "at": snapshot.at,
        "version": snapshot.version,
        "log": snapshot.origin,
        "state": pool["state"] if pool else "unknown",
        "capacity": pool["max"] * pool["calls_per_worker"] if pool else 0,
        "calls": sorted(snapshot.calls, key=lambda call: float(call["since"])),
        "workers": [_worker(worker) for worker in snapshot.workers],
        "worker_counts": dict(pool["counts"]) if pool else {},
        "ledger": _ledger(snapshot, before),
        "edge": edge_as_json(snapshot.edge) if snapshot.edge is not None else None,
        "free_bytes": snapshot.free_bytes,
        "problems": problems,
    }


def _worker(worker: Mapping[str, Any]) -> dict[str, Any]:
    said = {name: worker[name] for name in ("name", "pid", "state", "leaving", "served", "rss", "age_s", "silent_s")}
    return {**said, "calls": len(worker["calls"])}


def _ledger(snapshot: Snapshot, before: Snapshot | None) -> dict[str, Any] | None:
    ledger = snapshot.ledger
    if ledger is None:
        return None
    earlier = before.ledger if before is not None else None
    if earlier is not None and earlier["since"] != ledger["since"]:
        earlier = None
    said = {name: ledger[name] for name in ("writing", "queue", "size", "unsealed", "unsealed_s", "checkpoint_age_s")}
    return {
        **said,
        "answer_s": snapshot.ledger_answer_s,
        "ended": {"/".join(key): n for key, n in ledger["counts"]["calls_ended"]},
        "blocked": sum(n for _, n in ledger["counts"]["recordings_blocked"]),
        "failed": sum(n for _, n in ledger["counts"]["recordings_failed"]),
        **{name: _quantiles(ledger, earlier, name) for name in ("commit", "permit")},
    }


def _quantiles(ledger: Mapping[str, Any], earlier: Mapping[str, Any] | None, name: str) -> dict[str, float | None]:
    histogram = Histogram.of(ledger["histograms"][name])
    if earlier is not None:
        old = Histogram.of(earlier["histograms"][name])
        if sum(histogram.counts) > sum(old.counts):
            histogram.counts = [now - then for now, then in zip(histogram.counts, old.counts, strict=True)]
    return {label: quantile(histogram, share) for label, share in QUANTILES.items()}


def quantile(histogram: Histogram, share: float) -> float | None:
    """The value below which this share lies, straight between the bounds; the last bound for what is above it."""
    total = sum(histogram.counts)
    if not total:
        return None
    wanted, seen, lower = share * total, 0, 0.0
    for bound, count in zip(histogram.bounds, histogram.counts, strict=False):
        if count and seen + count >= wanted:
            return lower + (bound - lower) * (wanted - seen) / count
        seen, lower = seen + count, bound
    return histogram.bounds[-1]
