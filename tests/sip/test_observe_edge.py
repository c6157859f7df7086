# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool behind its edge, as operators see it: one id through all three, the counters, and an edge that is away."""

import json
import os
import re
import signal
from collections.abc import Iterator

import pytest

from demo.driver import Peer
from demo.server import free_port
from ivr.node.edge.status import COUNTERS
from sip.conftest import open_server
from sip.harness import ALICE_HZ, BOB_HZ, House, Notices, consent, flow
from sip.poolhouse import pool_settings
from sip.test_observe import ready, scrape, until, value


@pytest.fixture(scope="module")
def port() -> int:
    return free_port(20_000, 22_000)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory, notices: Notices, port: int) -> Iterator[House]:
    settings = pool_settings(2, min_spare=1) | {"metrics": {"port": port}, "log": {"format": "json"}}
    folder = tmp_path_factory.mktemp("edge") / "server"
    with Peer("alice", tone=ALICE_HZ) as alice, Peer("bob", tone=BOB_HZ) as bob:
        house = House(open_server(folder, {"bob": flow("100", consent(notices, "opt_out"), bob.uri)}, settings))
        house.add(alice)
        house.add(bob).incoming("answer", after_ms=100)
        with house.server:
            yield house


@pytest.fixture
def url(pool: House, port: int) -> str:
    found = f"http://127.0.0.1:{port}"
    pool.server.wrote(found)
    until(lambda: ready(found)[0] == 200, "a node that is ready")
    return found


def test_one_id_leads_through_edge_worker_and_ledger(pool: House, url: str) -> None:
    line = pool.ring(pool.peers["alice"], "100")
    received = line.wait("bridge.started") and line.only("call.received")
    edge = str(received.data["edge"])
    assert re.fullmatch(r"[0-9a-f]{32}", edge)
    until(lambda: value(scrape(url), "assent_edge_worker_calls", worker=str(received.data["worker"])) == 1, "the call")
    line.hang_up()

    def written() -> bool:
        return pool.server.output.count(f"call {line.call}: completed") == 2 and f"event=end id={edge}" in output()

    def output() -> str:
        return pool.server.output

    until(written, "the end in edge, worker and ledger")
    told = [json.loads(text) for text in output().splitlines() if text.startswith('{"time"')]
    about = [one for one in told if one.get("call") == line.call]
    assert {one["process"] for one in about} == {"ledger", received.data["worker"]}
    assert {one.get("edge") for one in about} == {edge}
    kamailio = [text for text in output().splitlines() if f"id={edge}" in text]
    events = {found[1] for text in kamailio if (found := re.search(r"event=(\w+)", text))}
    assert {"call", "dial", "end"} <= events
    personal = {str(text) for event in pool.server.log.of(line.call) for text in event.personal.values()}
    assert pool.peers["bob"].uri in personal
    assert not [text for text in personal - {"100", "root"} if text in output()]


def test_what_the_edge_counts_is_served_whole(pool: House, url: str) -> None:
    found = scrape(url)
    assert value(found, "assent_edge_up") == 1
    assert value(found, "assent_edge_workers", state="active") >= 1
    names = {dict(labels)["event"] for name, labels in found if name == "assent_edge_events_total"}
    assert names == set(COUNTERS)
    assert value(found, "assent_edge_events_total", event="calls", trunk="") >= 1


def test_an_edge_that_hangs_makes_the_node_unready(pool: House, url: str) -> None:
    edge = {pid for pid in pool.server.family() if _name(pid) == "kamailio"}
    assert edge
    for pid in edge:
        os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: "edge" in ready(url)[1], "a node without an edge")
        status, lacks = ready(url)
        assert (status, set(lacks)) == (503, {"edge"})
        until(lambda: value(scrape(url), "assent_edge_up") == 0, "the gauge")
    finally:
        for pid in edge:
            os.kill(pid, signal.SIGCONT)
    until(lambda: ready(url)[0] == 200, "a node that is ready again")


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip()
    except OSError:
        return ""
