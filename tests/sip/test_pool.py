# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool behind its edge: workers die, hang, drain and are renewed while calls are up that none of it may touch."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from demo.driver import Peer
from sip.conftest import judged_by_ivr, open_server
from sip.harness import ALICE_HZ, BOB_HZ, CAROL_HZ, House, Line, Notices, both_hear, consent, flow
from sip.poolhouse import Status, alive, named, names, pool_settings, status, until, worker_of

pytestmark = pytest.mark.timeout(300)  # a whole node starts for the first test


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory, notices: Notices) -> Iterator[House]:
    """Up to three workers, one spare; the log is the same all along, and is judged at the end."""
    folder = tmp_path_factory.mktemp("pool") / "server"
    with (
        Peer("alice", tone=ALICE_HZ) as alice,
        Peer("bob", tone=BOB_HZ) as bob,
        Peer("carol", tone=CAROL_HZ) as carol,
        Peer("dave", tone=700) as dave,
    ):
        opt_out = consent(notices, "opt_out")
        flows = {"bob": flow("100", opt_out, bob.uri), "dave": flow("200", opt_out, dave.uri)}
        house = House(open_server(folder, flows, pool_settings(3, min_spare=1, idle_time="1s")))
        for peer in (alice, bob, carol, dave):
            house.add(peer)
        for agent in (bob, dave):
            agent.incoming("answer", after_ms=100)
        with house.server:
            yield house
        judged_by_ivr(house.server)


@pytest.fixture
def place(pool: House) -> Iterator[House]:
    """It, with a worker that takes calls; the omnibus check comes after each test."""
    until(pool.server, lambda s: names(s), "a worker ready")
    pool.begin()
    yield pool
    pool.end()


def two_calls(house: House) -> tuple[Line, Line]:
    """Two recorded calls on two workers: the edge gives the second to the one with fewer calls."""
    first = house.ring(house.peers["alice"], "100")
    first.wait("recording.started")
    until(house.server, lambda s: len(names(s)) >= 2, "a spare worker beside the one that is used")
    second = house.ring(house.peers["carol"], "200")
    second.wait("recording.started")
    assert worker_of(house.server, first.call)["name"] != worker_of(house.server, second.call)["name"]
    return first, second


def second_goes_on(house: House, second: Line) -> None:
    """The other call has not been touched, and ends as it should."""
    both_hear(second, house.peers["dave"], (CAROL_HZ, 700))
    second.hang_up()
    assert second.only("recording.stopped").data["reason"] == "caller_left"
    assert second.only("call.ended").data["outcome"] == "completed"


def replaced(house: House, victim: dict[str, Any]) -> Status:
    """Waits until there are two ready workers again, and the victim is none of them."""

    def so(found: Status) -> bool:
        return len(names(found)) >= 2 and victim["pid"] not in [worker["pid"] for worker in found["workers"]]

    return until(house.server, so, f"{victim['name']} replaced")


def test_a_worker_is_killed_its_callers_hear_and_the_others_do_not(place: House) -> None:
    first, second = two_calls(place)
    victim = worker_of(place.server, first.call)
    os.kill(victim["pid"], signal.SIGKILL)
    # The edge says BYE to both sides: none of them has to find out by silence.
    first.caller.wait("disconnected")
    place.peers["bob"].wait("disconnected")
    assert first.wait("call.lost").data["reason"] == "worker-lost"
    replaced(place, victim)
    second_goes_on(place, second)


def test_a_worker_hangs_and_is_killed_and_never_resumed(place: House) -> None:
    first, second = two_calls(place)
    victim = worker_of(place.server, first.call)
    hung = status(place.server)["counts"]["hung"]
    os.kill(victim["pid"], signal.SIGSTOP)
    first.caller.wait("disconnected", within=20)
    assert first.wait("call.lost").data["reason"] == "worker-lost"
    assert not alive(victim["pid"])
    assert status(place.server)["counts"]["hung"] == hung + 1
    replaced(place, victim)
    second_goes_on(place, second)


def test_a_manager_that_was_stopped_itself_kills_nobody(place: House) -> None:
    """For longer than the heartbeat it hears nothing; then every worker is still the one it was."""
    first, second = two_calls(place)
    before = status(place.server)
    manager = place.server.part("pool")
    os.kill(manager, signal.SIGSTOP)
    try:
        both_hear(first, place.peers["bob"])
        with pytest.raises(AssertionError):
            first.wait("call.ended", within=4)
    finally:
        os.kill(manager, signal.SIGCONT)
    after = until(place.server, lambda s: s["counts"] == before["counts"], "the same as before it was stopped")
    for line in (first, second):
        found = worker_of(place.server, line.call)
        assert found["pid"] == named(before, found["name"])["pid"] == named(after, found["name"])["pid"]
    first.hang_up()
    second_goes_on(place, second)


def test_a_drained_worker_keeps_its_call_and_gets_no_other(place: House) -> None:
    first, second = two_calls(place)
    name = worker_of(place.server, first.call)["name"]
    assert place.server.ivr("drain", name).out == f"{name} 1\n"
    until(place.server, lambda s: named(s, name)["state"] == "draining", "draining")
    second.hang_up()
    for _ in range(3):
        again = place.ring(place.peers["carol"], "200")
        again.wait("recording.started")
        assert worker_of(place.server, again.call)["name"] != name
        again.hang_up()
    both_hear(first, place.peers["bob"])
    assert place.server.ivr("drain", name, "--wait", "0.1").status == 1
    first.hang_up()
    assert place.server.ivr("drain", name, "--wait", "20").status == 0
    assert place.server.ivr("undrain", name).out == f"{name}\n"
    until(place.server, lambda s: name in names(s) or not named(s, name), "taking calls again, or not needed")
    assert place.server.ivr("drain", "w9").status == 2


def test_a_drained_node_answers_503_and_its_calls_go_on(place: House) -> None:
    first, second = two_calls(place)
    assert place.server.ivr("drain").status == 0
    with Peer("late") as late:
        late.call(place.server.uri("100"))
        assert late.wait("disconnected")["code"] == 503
        both_hear(first, place.peers["bob"])
        assert status(place.server)["state"] == "draining"
        assert place.server.ivr("undrain").status == 0
        until(place.server, lambda s: s["state"] == "ready", "ready again")
        place.server.log.wait("node.draining", since=first.only("call.received").seq)
        assert place.ring(late, "200").wait("call.received")
        late.hang_up_all()
    first.hang_up()
    second_goes_on(place, second)


def test_a_rolling_restart_waits_for_every_call_and_takes_new_ones_all_along(place: House) -> None:
    first, second = two_calls(place)
    before = status(place.server)
    old = {worker["pid"] for worker in before["workers"]}
    assert place.server.ivr("restart").status == 0
    until(place.server, lambda s: s["generation"] == before["generation"] + 1, "a new nursery")
    with Peer("late") as late:
        # The old workers drain with their calls; a new one answers.
        line = place.ring(late, "200")
        line.wait("recording.started")
        assert worker_of(place.server, line.call)["pid"] not in old
        line.hang_up()
    both_hear(first, place.peers["bob"])
    first.hang_up()
    second_goes_on(place, second)
    after = until(place.server, lambda s: not s["rolling"]["active"], "done")
    assert not old & {worker["pid"] for worker in after["workers"]}
    assert after["counts"]["died"] == before["counts"]["died"]


def test_what_cannot_be_loaded_changes_nothing(place: House) -> None:
    before = status(place.server)
    file = place.server.folder / "flows" / "flows.yaml"
    good = file.read_text()
    file.write_text("flows: {x: {}}\n")
    done = place.server.ivr("restart", "--wait", "60")
    file.write_text(good)
    assert done.status == 1
    assert "prompts render" in done.err
    after = status(place.server)
    assert after["generation"] == before["generation"]
    assert {w["pid"] for w in after["workers"]} <= {w["pid"] for w in before["workers"]}


def test_it_grows_with_calls_and_shrinks_when_it_is_quiet(place: House) -> None:
    until(place.server, lambda s: len(s["workers"]) == 1, "one worker, at rest")
    first, second = two_calls(place)
    third = place.ring(place.peers["alice"], "200")
    until(place.server, lambda s: len(names(s)) == 3, "two that three calls need, and a spare one")
    for line in (first, third):
        line.hang_up()
    second_goes_on(place, second)
    until(place.server, lambda s: len(s["workers"]) == 1 and len(names(s)) == 1, "one worker again")


def test_the_nursery_dies_and_calls_and_pool_go_on(place: House) -> None:
    first, second = two_calls(place)
    before = status(place.server)
    os.kill(before["nursery"], signal.SIGKILL)
    until(place.server, lambda s: s["nursery"] not in (None, before["nursery"]), "another nursery")
    victim = worker_of(place.server, first.call)
    assert victim["pid"] == named(before, victim["name"])["pid"]
    both_hear(first, place.peers["bob"])
    # The worker is nobody's child that the new nursery knows; its death is seen all the same.
    os.kill(victim["pid"], signal.SIGKILL)
    first.caller.wait("disconnected")
    replaced(place, victim)
    second_goes_on(place, second)


def test_the_manager_dies_and_the_next_leaves_its_workers_their_calls(place: House) -> None:
    first, second = two_calls(place)
    held = [worker_of(place.server, line.call) for line in (first, second)]
    os.kill(place.server.part("pool"), signal.SIGKILL)
    taken = {worker["name"] for worker in held}
    found = until(
        place.server, lambda s: set(s["leftover"]) >= taken and names(s), "a new manager beside the old workers"
    )
    # The third slot is free, and takes new calls at once.
    assert not taken & {worker["name"] for worker in found["workers"]}
    with Peer("late") as late:
        line = place.ring(late, "200")
        line.wait("recording.started")
        line.hang_up()
    both_hear(first, place.peers["bob"])
    first.hang_up()
    second_goes_on(place, second)
    until(place.server, lambda s: not s["leftover"], "the slots of the old workers free again")
    assert not [worker for worker in held if alive(worker["pid"])]
