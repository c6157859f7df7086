# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics of the edge, the archive, the disk and the build."""

from collections.abc import Callable, Iterable

from ivr.node.archive import ArchiveStatus
from ivr.node.edge.control import EdgeStatus
from ivr.node.edge.status import COUNTERS
from ivr.node.observe.metric import Metric, Sample, counter, gauge
from ivr.node.observe.snapshot import Snapshot


def _edge(read: Callable[[EdgeStatus], Iterable[Sample]]) -> Callable[[Snapshot], Iterable[Sample]]:
    return lambda snapshot: read(snapshot.edge) if snapshot.edge is not None else ()


def _workers(read: Callable[[EdgeStatus], Iterable[Sample]]) -> Callable[[Snapshot], Iterable[Sample]]:
    return _edge(lambda edge: () if edge.front else read(edge))


def _archive(read: Callable[[ArchiveStatus], float | None]) -> Callable[[Snapshot], Iterable[Sample]]:
    def sample(snapshot: Snapshot) -> Iterable[Sample]:
        if snapshot.archive is not None and (value := read(snapshot.archive)) is not None:
            yield (), float(value)

    return sample


def _edge_up(snapshot: Snapshot) -> Iterable[Sample]:
    if snapshot.wants_edge:
        yield (), float(snapshot.edge is not None)


def _edge_counters(edge: EdgeStatus) -> Iterable[Sample]:
    """Every counter, 0 too; those of a trunk by its name, which the operator gave."""
    totals = {name: value for name, value in edge.counters.items() if ":" not in name}
    for name in COUNTERS:
        yield (name, ""), float(totals.get(name, 0))
    for name, value in edge.counters.items():
        kind, _, trunk = name.partition(":")
        if trunk and kind in COUNTERS:
            yield (kind, trunk), float(value)


def _some(value: float | None) -> Iterable[Sample]:
    return [] if value is None else [((), value)]


EDGE: tuple[Metric, ...] = (
    gauge("assent_edge_up", "Whether the edge answers; only where one stands before workers or nodes.", _edge_up),
    gauge(
        "assent_edge_worker_calls",
        "Calls that the edge gave to each worker and that are up.",
        _workers(lambda edge: [((place.name,), float(place.calls)) for place in edge.places if place.state != "out"]),
        ("worker",),
    ),
    gauge(
        "assent_edge_workers",
        "Workers as the edge treats them: active, draining, silent or out.",
        _workers(
            lambda edge: [
                ((state,), float(sum(place.state == state for place in edge.places)))
                for state in ("active", "draining", "silent", "out")
            ]
        ),
        ("state",),
    ),
    counter(
        "assent_edge_events_total",
        "What the edge counted since it started, by name (ivr edge status) and trunk; an empty trunk is the total.",
        _edge(_edge_counters),
        ("event", "trunk"),
    ),
    gauge(
        "assent_edge_certificate_expiry_seconds",
        "When the edge's TLS certificate runs out, in seconds since 1970.",
        lambda snapshot: _some(snapshot.certificate_until),
    ),
)

NODE: tuple[Metric, ...] = (
    *EDGE,
    gauge(
        "assent_archive_waiting_bytes",
        "Sealed audio that is not in the archive yet.",
        _archive(lambda archive: archive.waiting_bytes),
    ),
    gauge(
        "assent_archive_waiting_segments",
        "Segments that are not in the archive yet.",
        _archive(lambda archive: archive.waiting_segments),
    ),
    gauge(
        "assent_archive_oldest_seconds",
        "How long the oldest of them has waited; 0 for none.",
        _archive(lambda archive: archive.oldest_waiting_s or 0.0),
    ),
    gauge(
        "assent_archive_erasures_waiting",
        "Erasures that the archive has not heard of yet.",
        _archive(lambda archive: archive.erasures_waiting),
    ),
    gauge("assent_archive_running", "Whether an archiver runs.", _archive(lambda archive: archive.running)),
    gauge(
        "assent_archive_failing", "Whether its last round failed.", _archive(lambda archive: archive.error is not None)
    ),
    gauge(
        "assent_disk_free_bytes",
        "Free space where recordings are written; below storage.min_free nothing is recorded.",
        lambda snapshot: _some(snapshot.free_bytes),
    ),
    gauge(
        "assent_build_info",
        "Always 1; the version, and the name of this node's log.",
        lambda snapshot: [((snapshot.version, snapshot.origin), 1.0)],
        ("version", "log"),
    ),
)
