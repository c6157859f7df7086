# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics of the pool: workers, the calls that are up, and how their audio travels."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ivr.calls.mediatally import SIDES
from ivr.calls.status import CallState, Recorded
from ivr.histogram import Histogram
from ivr.node.observe.metric import Metric, Observed, Sample, counter, gauge, histogram
from ivr.node.observe.snapshot import Snapshot
from ivr.node.pool.pooled import State

CAUSES = ("died", "hung", "recycled", "shrunk")


def _pool(read: Callable[[Mapping[str, Any]], Iterable[Sample]]) -> Callable[[Snapshot], Iterable[Sample]]:
    return lambda snapshot: read(snapshot.pool) if snapshot.pool is not None else ()


def _workers(pool: Mapping[str, Any]) -> Iterable[Sample]:
    count = Counter(str(worker["state"]) for worker in pool["workers"])
    return [((state.value,), float(count[state.value])) for state in State]


def _memory(pool: Mapping[str, Any]) -> Iterable[Sample]:
    return [((str(worker["name"]),), float(worker["rss"])) for worker in pool["workers"]]


def _calls_of(pool: Mapping[str, Any]) -> Iterable[Sample]:
    return [((str(worker["name"]),), float(len(worker["calls"]))) for worker in pool["workers"]]


def _ends(pool: Mapping[str, Any]) -> Iterable[Sample]:
    return [((cause,), float(pool["counts"].get(cause, 0))) for cause in CAUSES]


def _by(field: str, values: Iterable[str]) -> Callable[[Snapshot], Iterable[Sample]]:
    known = list(values)

    def read(snapshot: Snapshot) -> Iterable[Sample]:
        if snapshot.pool is None:
            return []
        count = Counter(str(call.get(field)) for call in snapshot.calls)
        return [((value,), float(count[value])) for value in known]

    return read


def _packets(kind: str) -> Callable[[Snapshot], Iterable[Sample]]:
    def read(snapshot: Snapshot) -> Iterable[Sample]:
        for side in SIDES:
            if side in snapshot.media:
                yield (side,), float(snapshot.media[side]["packets"][kind])

    return read


def _heard(name: str) -> Callable[[Snapshot], Iterable[Observed]]:
    def read(snapshot: Snapshot) -> Iterable[Observed]:
        for side in SIDES:
            if side in snapshot.media:
                yield (side,), Histogram.of(snapshot.media[side][name])

    return read


POOL: tuple[Metric, ...] = (
    gauge("assent_calls", "Calls that are up, by what they are doing.", _by("state", CallState), ("state",)),
    gauge(
        "assent_calls_recorded",
        "Calls that are up, by whether they are recorded.",
        _by("recorded", Recorded),
        ("recorded",),
    ),
    gauge(
        "assent_calls_capacity",
        "Calls that the pool can carry at its largest.",
        _pool(lambda pool: [((), float(pool["max"] * pool["calls_per_worker"]))]),
    ),
    gauge("assent_workers", "Workers by state.", _pool(_workers), ("state",)),
    gauge("assent_worker_calls", "Calls of each worker.", _pool(_calls_of), ("worker",)),
    gauge(
        "assent_worker_memory_bytes",
        "Resident memory of each worker; much of it is shared.",
        _pool(_memory),
        ("worker",),
    ),
    counter(
        "assent_worker_starts_total",
        "Workers that were forked since the manager started.",
        _pool(lambda pool: [((), float(pool["counts"]["started"]))]),
    ),
    counter(
        "assent_worker_ends_total",
        "Workers that ended: died (those that hung and were killed too), hung, recycled, shrunk (not needed).",
        _pool(_ends),
        ("cause",),
    ),
    gauge(
        "assent_draining",
        "Whether the node takes no new calls because it was drained or is being stopped.",
        _pool(lambda pool: [((), float(pool["state"] in ("draining", "stopping")))]),
    ),
    gauge(
        "assent_recording_lag_seconds",
        "Audio of the running recording that is furthest behind: heard and not sealed yet. Up to 2 is normal.",
        lambda snapshot: [((), max(snapshot.lags, default=0.0))] if snapshot.pool is not None else [],
    ),
    counter("assent_media_packets_received_total", "RTP packets of legs that ended.", _packets("received"), ("side",)),
    counter("assent_media_packets_lost_total", "RTP packets that never came.", _packets("lost"), ("side",)),
    counter(
        "assent_media_packets_discarded_total", "RTP packets that came too late.", _packets("discarded"), ("side",)
    ),
    counter(
        "assent_media_packets_far_lost_total",
        "RTP packets of ours that the far end reported lost (RTCP).",
        _packets("far_lost"),
        ("side",),
    ),
    histogram("assent_media_jitter_seconds", "Mean jitter of each leg that ended.", _heard("jitter"), ("side",)),
    histogram(
        "assent_media_loss_ratio", "Lost and late packets of each leg that ended, 0 to 1.", _heard("loss"), ("side",)
    ),
)
