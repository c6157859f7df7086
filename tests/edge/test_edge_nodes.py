# SPDX-License-Identifier: GPL-3.0-or-later
"""A front edge before nodes: it asks them whether they live, and a node's calls do not outlive it."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from demo.server import free_port
from edge_kit import EdgeServer, Ua
from ivr.node.edge.control import PlaceState
from ivr.node.edge.render import LOST_S


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeServer]:
    ports = [free_port(27_000, 28_000), free_port(28_002, 29_000)]
    nodes = [
        {"name": name, "address": "127.0.0.1", "port": port, "calls": calls}
        for name, port, calls in zip(("a", "b"), ports, (3, 2), strict=True)
    ]
    with EdgeServer(tmp_path_factory.mktemp("front"), settings={"edge": {"nodes": nodes}}) as front:
        front.places = [("127.0.0.1", port) for port in ports]
        yield front


def both_up(front: EdgeServer, stack: ExitStack) -> tuple[Ua, Ua]:
    nodes = stack.enter_context(front.worker(0)), stack.enter_context(front.worker(1))
    front.wait_status(lambda status: all(place.state is PlaceState.ACTIVE for place in status.places))
    return nodes


def test_calls_are_spread_over_nodes_up_to_what_each_can_carry(front: EdgeServer, stack: ExitStack) -> None:
    a, b = both_up(front, stack)
    callers = [stack.enter_context(Ua(front.public)) for _ in range(6)]
    made = [caller.call("400") for caller in callers]
    assert sorted(answer.status for _, answer in made) == [200] * 5 + [503]
    assert (a.count("INVITE"), b.count("INVITE")) == (3, 2)
    for caller, (dialog, answer) in zip(callers, made, strict=True):
        if answer.status == 200:
            assert caller.request(dialog, "BYE").status == 200


def test_a_node_that_is_full_is_passed_over(front: EdgeServer, stack: ExitStack) -> None:
    a, b = both_up(front, stack)
    a.answer = lambda m: 503 if m.method == "INVITE" else 200
    for _ in range(2):
        assert stack.enter_context(Ua(front.public)).call("400")[1].status == 200
    assert b.count("INVITE") == 2
    for name in ("a", "b"):
        front.tell(lambda control, name=name: control.remove(name))
    front.wait_status(lambda status: not any(place.calls for place in status.places))


def test_a_node_that_is_gone_gets_no_calls_and_its_calls_end(front: EdgeServer, stack: ExitStack) -> None:
    a, b = both_up(front, stack)
    callers = [stack.enter_context(Ua(front.public)) for _ in range(2)]
    made = [caller.call("400")[0] for caller in callers]
    of_a = next(number for number, dialog in enumerate(made) if dialog.call in a.dialogs)
    a.muted.set()
    front.wait_status(lambda status: status.of("a").state is PlaceState.SILENT)
    caller = stack.enter_context(Ua(front.public))
    dialog, answer = caller.call("400")
    assert answer.status == 200
    assert dialog.call in b.dialogs
    callers[of_a].wait_request("BYE", made[of_a].call, within=25)
    assert callers[1 - of_a].request(made[1 - of_a], "BYE").status == 200
    assert caller.request(dialog, "BYE").status == 200
    a.muted.clear()
    front.wait_status(lambda status: status.of("a").state is PlaceState.ACTIVE)


def test_all_that_a_lost_node_had_ends_once_and_the_edge_lives_on(
    tmp_path_factory: pytest.TempPathFactory, stack: ExitStack
) -> None:
    trunk, agents = {"name": "here", "sources": ["127.0.0.1"], "rate": 1000}, ["127.0.0.3"]
    listed = {"name": "a", "address": "127.0.0.1", "port": free_port(27_000, 28_000), "calls": 60}
    front = EdgeServer(
        tmp_path_factory.mktemp("loss"), settings={"edge": {"nodes": [listed], "trunks": [trunk], "agents": agents}}
    )
    front.places = [("127.0.0.1", listed["port"])]
    stack.enter_context(front)
    node, caller = stack.enter_context(front.worker(0)), stack.enter_context(Ua(front.public))
    agent = stack.enter_context(Ua(front.public, address="127.0.0.3"))
    route = f"<sip:{front.inside[0]}:{front.inside[1]};lr>"
    front.wait_status(lambda status: status.of("a").state is PlaceState.ACTIVE)
    run, began = front.status().run, time.monotonic()
    for _ in range(2):
        made = [caller.call("400")[0] for _ in range(40)]
        leg, answer = node.call(f"sip:agent@{agent.at}", routes=[route], to=front.inside)
        assert answer.status == 200
        node.muted.set()
        for dialog in made:
            caller.wait_request("BYE", dialog.call, within=LOST_S + 20)
        assert time.monotonic() > began + LOST_S - 3  # not even when it is silent from the first moment on
        agent.wait_request("BYE", leg.call)
        front.wait_status(lambda status: status.of("a").calls == 0)
        caller.wait_until(lambda: not front.tell(lambda control: control._rpc.call("htable.dump", "up")), 20)
        node.muted.clear()
        front.wait_status(lambda status: status.of("a").state is PlaceState.ACTIVE)
    made = [caller.call("400")[0] for _ in range(40)]
    assert front.tell(lambda control: control.remove("a")) == 40
    for dialog in made:
        caller.wait_request("BYE", dialog.call)
    assert front.status().run == run
    assert "CRITICAL" not in front.log, front.log[-3000:]


def test_a_node_that_says_it_takes_none_gets_none_and_keeps_its_calls(front: EdgeServer, stack: ExitStack) -> None:
    a, _ = both_up(front, stack)
    callers = [stack.enter_context(Ua(front.public)) for _ in range(2)]
    made = [caller.call("400")[0] for caller in callers]
    of_a = next(number for number, dialog in enumerate(made) if dialog.call in a.dialogs)
    a.answer = lambda m: 503 if m.method in ("OPTIONS", "INVITE") else 200
    front.wait_status(lambda status: status.of("a").state is PlaceState.REFUSING)
    since, before = time.monotonic(), a.count("INVITE")
    late = stack.enter_context(Ua(front.public))
    dialog, answer = late.call("400")
    assert answer.status == 200
    assert a.count("INVITE") == before
    a.wait_until(lambda: time.monotonic() > since + LOST_S + 4 or a.count("BYE") > 0, LOST_S + 6)
    assert callers[of_a].request(made[of_a], "INFO").status == 200
    for caller, up in zip([*callers, late], [*made, dialog], strict=True):
        assert caller.request(up, "BYE").status == 200


def test_a_node_drained_at_the_front_keeps_its_calls(front: EdgeServer, stack: ExitStack) -> None:
    a, _ = both_up(front, stack)
    front.tell(lambda control: control.drain("b"))
    caller = stack.enter_context(Ua(front.public))
    dialog, _answer = caller.call("400")
    front.tell(lambda control: control.drain("a"))
    assert front.status().of("a").state is PlaceState.DRAINING
    assert stack.enter_context(Ua(front.public)).call("400")[1].status == 503
    asked = len(a.seen)
    a.wait_until(lambda: len(a.seen) >= asked + LOST_S + 4, 30)  # it goes on being asked, once a second
    assert a.count("BYE") == 0
    assert caller.request(dialog, "BYE").status == 200
    front.enable("a", "b")
    assert all(place.state is PlaceState.ACTIVE for place in front.status().places)


def test_a_node_that_was_drained_is_told_from_one_that_is_dead(
    tmp_path_factory: pytest.TempPathFactory, stack: ExitStack
) -> None:
    trunk = {"name": "front", "sources": ["127.0.0.1"], "front": True}
    node = EdgeServer(tmp_path_factory.mktemp("node"), settings={"edge": {"trunks": [trunk]}})
    listed = {"name": "a", "address": "127.0.0.1", "port": node.port, "calls": 3}
    front = EdgeServer(tmp_path_factory.mktemp("front"), settings={"edge": {"nodes": [listed]}})
    stack.callback(node.stop)
    stack.enter_context(node.start().worker(0))
    stack.enter_context(front)

    def shown(state: PlaceState, within: float = 10) -> None:
        front.wait_status(lambda status: status.of("a").state is state, within)

    node.enable("w0")
    shown(PlaceState.ACTIVE)
    before, downs = len(front.log), front.status().counters.get("downs", 0)
    node.tell(lambda control: control.drain("w0"))
    shown(PlaceState.DRAINED)
    gauges = front.ivr("edge", "status", "--prometheus").out
    assert 'assent_front_node_state{node="a",state="drained"} 1.0\n' in gauges
    assert 'assent_front_node_state{node="a",state="active"} 0.0\n' in gauges
    assert front.ivr("edge", "status", "--quiet").status == 1
    destination = f"destination=127.0.0.1:{node.port}"
    front.wait_log(f"event=drained {destination}")
    assert front.log[before:].count(f"event=drained {destination}") == 1
    assert "event=down" not in front.log[before:]
    assert front.status().counters.get("downs", 0) == downs

    node.tell(lambda control: control.remove("w0"))
    shown(PlaceState.REFUSING)
    node.enable("w0")
    shown(PlaceState.ACTIVE)
    node.tell(lambda control: control.drain("w0"))
    shown(PlaceState.DRAINED)
    node.stop()
    shown(PlaceState.SILENT)  # what it said before it died is not believed for ever
    front.wait_log(f"event=lost {destination}", LOST_S + 10)
    node.start().enable("w0")
    shown(PlaceState.ACTIVE)
    front.wait_log(f"event=back {destination}")


def test_an_id_from_a_front_of_our_own_is_kept(tmp_path_factory: pytest.TempPathFactory, stack: ExitStack) -> None:
    port = free_port(30_000, 31_000)
    trunks = [{"name": "front", "sources": ["127.0.0.1"], "port": port, "front": True},
              {"name": "other", "sources": ["127.0.0.0/8"]}]  # fmt: skip
    with EdgeServer(tmp_path_factory.mktemp("node"), settings={"edge": {"trunks": trunks}}) as node:
        worker = stack.enter_context(node.worker(0))
        node.enable("w0")
        given = "0123456789abcdef" * 2
        for source, kept in ((port, True), (0, False)):
            caller = stack.enter_context(Ua(node.public, port=source))
            dialog, answer = caller.call("400", more=[f"X-Assent-Id: {given}"])
            assert answer.status == 200
            (seen,) = worker.wait_request("INVITE", dialog.call).all("X-Assent-Id")
            assert (seen == given) is kept
