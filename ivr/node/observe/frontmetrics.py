# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics of an edge by itself: a front edge has no pool whose endpoint could serve them."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, generate_latest

from ivr.node.edge.control import EdgeStatus, PlaceState
from ivr.node.observe.metric import Collected, Metric, Sample, gauge
from ivr.node.observe.nodemetrics import EDGE
from ivr.node.observe.snapshot import Snapshot


def _front(read: Callable[[EdgeStatus], Iterable[Sample]]) -> Callable[[Snapshot], Iterable[Sample]]:
    return lambda snapshot: read(snapshot.edge) if snapshot.edge is not None and snapshot.edge.front else ()


def _states(edge: EdgeStatus) -> Iterable[Sample]:
    """Every state of every node, 0 too: an alert must not fire on because the sample of the last one went stale."""
    return [((place.name, state), float(place.state is state)) for place in edge.places for state in PlaceState]


FRONT: tuple[Metric, ...] = (
    gauge(
        "assent_front_node_state",
        "Whether a node is in this state (ivr edge status) to its front edge: 1 for one state of each node.",
        _front(_states),
        ("node", "state"),
    ),
    gauge(
        "assent_front_node_calls",
        "Calls that the front edge gave to each node and that are up.",
        _front(lambda edge: [((place.name,), float(place.calls)) for place in edge.places]),
        ("node",),
    ),
    gauge(
        "assent_front_time_seconds",
        "When the front edge was asked, or did not answer, since 1970.",
        lambda snapshot: [((), snapshot.at)] if snapshot.wants_front else [],
    ),
)


def edge_text(snapshot: Snapshot) -> str:
    """What the edge alone says, in the text format, version 0.0.4, as node_exporter's textfile collector reads it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collected((*EDGE, *FRONT), snapshot))
    return generate_latest(registry).decode()
