# SPDX-License-Identifier: GPL-3.0-or-later
"""Two nodes whose logs are in one PostgreSQL server, a schema each: a node is lost, and the desk checks and erases."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab_kit import CALLER, NODES, Lab, until
from netns_kit import network
from postgres_kit import OWNER, running_cluster

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = Path(tmp_path_factory.mktemp("lab"))
    with running_cluster() as cluster, network("a", "b", "front", "phones") as machines:
        made = Lab(folder, machines)
        try:
            # By a Unix socket, which is a file: machines without a way to each other reach it all the same.
            made.make(lambda name: cluster.url_of(OWNER, schema=f"node_{name}"))
            made.start_front()
            made.start(*NODES)
            made.start_agents()
            yield made
        finally:
            made.close()


def test_two_logs_in_one_server(lab: Lab) -> None:
    running = lab.calls(4, 20)
    for name in NODES:
        lab.recorded(name, 2)
    up = lab.calls_with("a", "call.received")
    lab.machines["a"].lose()
    lab.went_well(lab.calls(2, 1))
    assert sorted(phone.wait(90) for phone in running) == [0, 0, 1, 1]
    assert len(lab.calls_with("b", "call.received")) == 4
    lab.start("a")
    until(lambda: lab.calls_with("a", "call.lost") == up, "the log says what was lost", dump=lambda: lab.dump("a"))
    lab.gets_calls_again("a")

    calls = {name: lab.calls_with(name, "call.received") for name in NODES}
    verified = lab.desk("log", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "ALL HOLD. 2 logs" in verified.stdout
    identity = ("--identity", lab.folder / "a/keys/officer.age")
    found = lab.desk("subject", "find", "--number", CALLER, *identity)
    assert found.returncode == 0, found.stderr
    for name in NODES:
        lines = [line for line in found.stdout.splitlines() if line.startswith(f"{name}: ")]
        assert {line.split()[1] for line in lines} == calls[name]
    assert lab.desk("retention", "run").returncode == 0
    erased = lab.desk("erase", "--number", CALLER, "--reason", "x", *identity)
    assert erased.returncode == 0, erased.stderr
    verified = lab.desk("log", "verify")
    assert verified.returncode == 0, verified.stdout
