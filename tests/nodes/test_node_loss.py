# SPDX-License-Identifier: GPL-3.0-or-later
"""Two nodes behind a front edge, each in a network namespace: calls are spread, a node is lost, cut off, drained.

The tests build on each other: the nodes go on from one to the next, as they would.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab_kit import CALLER, NODES, Lab, until
from netns_kit import network

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = Path(tmp_path_factory.mktemp("lab"))
    with network("a", "b", "front", "phones") as machines:
        made = Lab(folder, machines)
        try:
            made.make()
            made.start_front()
            made.start(*NODES)
            made.start_agents()
            yield made
        finally:
            made.close()


def test_calls_are_spread_over_both_nodes(lab: Lab) -> None:
    lab.went_well(lab.calls(4, 6))
    assert [len(lab.calls_with(name, "recording.started")) for name in NODES] == [2, 2]
    assert [len(lab.calls_with(name, "call.ended")) for name in NODES] == [2, 2]


def test_a_node_is_lost_in_mid_load(lab: Lab) -> None:
    was = {name: lab.calls_with(name, "call.received") for name in NODES}
    running = lab.calls(4, 40)
    for name in NODES:
        lab.recorded(name, 4)
    up = lab.calls_with("a", "call.received") - was["a"]
    assert len(up) == 2
    lab.machines["a"].lose()
    # The front edge has not noticed yet: these are tried there or not, and answered by the other node all the same.
    lab.went_well(lab.calls(2, 1))
    until(lambda: lab.state("a") == "silent", "the front edge takes the lost node out", dump=lambda: lab.dump("front"))
    lab.went_well(lab.calls(2, 1))
    assert len(lab.calls_with("b", "call.received") - was["b"]) == 6
    # Of the four, those of the lost node are hung up on by the front edge long before they would end; the others go on.
    until(lambda: len([phone for phone in running if phone.poll() is not None]) == 2, "two callers get BYE")
    assert len(open_calls(lab, "b")) == 2
    assert lab.told().count("unexpected BYE") == 2
    assert "CRITICAL" not in lab.output("front")
    assert sorted(phone.wait(90) for phone in running) == [0, 0, 1, 1]

    lab.start("a")
    lost = {str(event.call): event.data for event in lab.events("a", "call.lost")}
    until(lambda: lab.calls_with("a", "call.lost") == up, "the log says what was lost", dump=lambda: f"{lost} {up}")
    assert not lab.calls_with("a", "call.ended") & up
    lab.gets_calls_again("a")


def test_a_node_that_is_cut_off_ends_its_calls_and_comes_back(lab: Lab) -> None:
    was = {name: lab.calls_with(name, "call.received") for name in NODES}
    running = lab.calls(4, 40)
    for name in NODES:
        until(lambda: len(lab.calls_with(name, "bridge.started") - was[name]) == 2, f"{name} has two calls")  # noqa: B023
    up = lab.calls_with("a", "call.received") - was["a"]
    lab.machines["a"].cable(plugged=False)
    lab.went_well(lab.calls(2, 1))
    until(lambda: lab.state("a") == "silent", "the front edge takes the node out")
    # Nobody hears its callers any more: it ends the calls itself, and says so in its log.
    until(lambda: lab.calls_with("a", "call.ended") >= up, "the node that is cut off ends its calls")
    lab.machines["a"].cable(plugged=True)
    until(lambda: lab.state("a") == "active", "the front edge takes it back", dump=lambda: lab.dump("a"))
    assert sorted(phone.wait(90) for phone in running) == [0, 0, 1, 1]
    assert not lab.calls_with("a", "call.lost") & up
    lab.gets_calls_again("a")


def test_a_node_is_drained_without_a_call_lost(lab: Lab) -> None:
    was = {name: lab.calls_with(name, "call.received") for name in NODES}
    running = lab.calls(4, 15)
    for name in NODES:
        until(lambda: len(lab.calls_with(name, "call.received") - was[name]) == 2, f"{name} has two calls")  # noqa: B023
    drained = lab.on("a", "drain", "node")
    assert drained.returncode == 0, drained.stderr
    lab.went_well(lab.calls(2, 1))
    until(lambda: lab.state("a") == "drained", "the front edge sends it nothing more, and says why")
    lab.went_well(lab.calls(2, 1))
    lab.went_well(running)
    assert len(lab.calls_with("a", "call.received") - was["a"]) == 2
    assert len(lab.calls_with("b", "call.received") - was["b"]) == 6
    assert lab.on("a", "undrain", "node").returncode == 0
    until(lambda: lab.state("a") == "active", "the front edge takes it back", dump=lambda: lab.dump("a"))
    lab.gets_calls_again("a")


def test_the_desk_sees_all_of_it(lab: Lab) -> None:
    calls = {name: lab.calls_with(name, "call.received") for name in NODES}
    until(lambda: all(not open_calls(lab, name) for name in NODES), "no call is up")
    verified = lab.desk("log", "verify")
    assert verified.returncode == 0, verified.stdout
    assert "ALL HOLD. 2 logs" in verified.stdout
    identity = ("--identity", lab.folder / "a/keys/officer.age")
    found = lab.desk("subject", "find", "--number", CALLER, *identity)
    assert found.returncode == 0, found.stderr
    for name in NODES:
        lines = [line for line in found.stdout.splitlines() if line.startswith(f"{name}: ")]
        assert {line.split()[1] for line in lines} == calls[name]
    kept = lab.desk("retention", "run")
    assert kept.returncode == 0, kept.stderr
    assert kept.stdout.splitlines() == [f"{name}: gone: 0 recordings; personal fields: none" for name in NODES]

    lab.machines["b"].terminate()
    away = lab.desk("subject", "find", "--number", CALLER, *identity)
    assert away.returncode == 3
    assert "INCOMPLETE: node b: " in away.stderr
    erased = lab.desk("erase", "--number", CALLER, "--reason", "x", *identity)
    assert erased.returncode == 3
    lab.start("b")
    erased = lab.desk("erase", "--number", CALLER, "--reason", "x", *identity)
    assert erased.returncode == 0, erased.stderr
    for name in NODES:
        assert not list((lab.folder / name / "data/keystore").rglob("*.age"))
    verified = lab.desk("log", "verify")
    assert verified.returncode == 0, verified.stdout


def open_calls(lab: Lab, name: str) -> set[str]:
    over = lab.calls_with(name, "call.ended") | lab.calls_with(name, "call.lost")
    return lab.calls_with(name, "call.received") - over
