# SPDX-License-Identifier: GPL-3.0-or-later
"""What a front edge says for Prometheus: its nodes by name and state, when it was asked, and when nobody answered."""

from prometheus_client.parser import text_string_to_metric_families

from ivr.node.edge.control import EdgeStatus, PlaceState, PlaceStatus
from ivr.node.edge.status import COUNTERS
from ivr.node.observe.frontmetrics import edge_text
from ivr.node.observe.metrics import text_of
from ivr.node.observe.snapshot import Snapshot

NODES = (
    PlaceStatus("a", "sip:192.0.2.11:5060", PlaceState.ACTIVE, 7),
    PlaceStatus("b", "sip:192.0.2.12:5060", PlaceState.SILENT, 0),
)


def front(**changed: object) -> Snapshot:
    edge = EdgeStatus("run-1", NODES, counters={"full": 3, "refused_rate:carrier": 2}, front=True)
    return Snapshot(1000.5, "1", "", **{"wants_edge": True, "wants_front": True, "edge": edge, **changed})  # type: ignore[arg-type]


def read(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    families = text_string_to_metric_families(text)
    return {(s.name, tuple(s.labels.values())): s.value for family in families for s in family.samples}


def test_every_state_of_every_node_has_a_sample() -> None:
    found = read(edge_text(front()))
    states = {labels: value for (name, labels), value in found.items() if name == "assent_front_node_state"}
    assert states == {(node.name, state.value): float(node.state is state) for node in NODES for state in PlaceState}
    assert found["assent_front_node_calls", ("a",)] == 7
    assert found["assent_front_time_seconds", ()] == 1000.5
    assert found["assent_edge_up", ()] == 1


def test_nodes_are_no_workers_and_all_counters_are_there() -> None:
    found = read(edge_text(front()))
    assert not [name for name, _ in found if name.startswith("assent_edge_worker")]
    assert {labels[0] for name, labels in found if name == "assent_edge_events_total"} == set(COUNTERS)
    assert found["assent_edge_events_total", ("refused_rate", "carrier")] == 2


def test_an_edge_that_does_not_answer_is_down_and_was_asked() -> None:
    found = read(edge_text(front(edge=None)))
    assert found == {("assent_edge_up", ()): 0, ("assent_front_time_seconds", ()): 1000.5}


def test_nothing_is_said_of_parts_that_a_front_edge_has_not() -> None:
    assert {name.split("_")[1] for name, _ in read(edge_text(front()))} == {"edge", "front"}


def test_a_node_says_nothing_of_fronts() -> None:
    workers = EdgeStatus("run-1", NODES)
    found = read(text_of(Snapshot(1.0, "1", "", wants_edge=True, edge=workers)).decode())
    assert not [name for name, _ in found if name.startswith("assent_front")]
    assert found["assent_edge_workers", ("active",)] == 1
