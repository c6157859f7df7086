# SPDX-License-Identifier: GPL-3.0-or-later
"""`pool: 1`: one worker without an edge, replaced when it has served its calls, when it hangs, and on request."""

import os
import signal
from collections.abc import Iterator

import pytest

from demo.driver import Peer
from demo.server import free_port
from sip.conftest import judged_by_ivr, open_server
from sip.harness import ALICE_HZ, BOB_HZ, House, Notices, both_hear, consent, flow
from sip.poolhouse import names, status, until

pytestmark = pytest.mark.timeout(300)  # a whole node starts for the first test


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory, notices: Notices) -> Iterator[House]:
    """A worker that is old after two calls; there is no edge and no Kamailio."""
    folder = tmp_path_factory.mktemp("single") / "server"
    with Peer("alice", tone=ALICE_HZ) as alice, Peer("bob", tone=BOB_HZ) as bob:
        flows = {"bob": flow("100", consent(notices, "opt_out"), bob.uri)}
        chosen = {"pool": {"recycle_calls": 2}, "metrics": {"port": free_port(9_400, 9_998)}}
        house = House(open_server(folder, flows, chosen))
        house.add(alice)
        house.add(bob)
        bob.incoming("answer", after_ms=100)
        with house.server:
            yield house
        judged_by_ivr(house.server)


@pytest.fixture
def place(single: House) -> Iterator[House]:
    """It, with its worker; the omnibus check comes after each test."""
    until(single.server, lambda s: names(s), "a worker ready")
    single.begin()
    yield single
    single.end()


def pid(place: House) -> int:
    found = until(place.server, lambda s: names(s) == ["w0"], "its worker ready")
    return int(found["workers"][0]["pid"])


def call(place: House) -> None:
    line = place.ring(place.peers["alice"], "100")
    line.wait("recording.started")
    both_hear(line, place.peers["bob"])
    line.hang_up()


def test_it_is_replaced_after_its_calls_when_it_has_none(place: House) -> None:
    first = pid(place)
    call(place)
    assert pid(place) == first
    line = place.ring(place.peers["alice"], "100")
    line.wait("recording.started")
    assert pid(place) == first  # it is old with this call, and not idle
    both_hear(line, place.peers["bob"])
    line.hang_up()
    until(place.server, lambda s: names(s) and s["workers"][0]["pid"] != first, "another worker")
    assert status(place.server)["counts"]["recycled"] == 1
    call(place)


def test_it_hangs_and_is_replaced(place: House) -> None:
    first = pid(place)
    os.kill(first, signal.SIGSTOP)
    until(place.server, lambda s: names(s) and s["workers"][0]["pid"] != first, "another worker")
    call(place)


def test_sighup_renews_every_part_and_the_call_goes_on(place: House) -> None:
    first, ledger = pid(place), place.server.part("ledger")
    line = place.ring(place.peers["alice"], "100")
    line.wait("recording.started")
    os.kill(place.server.pid, signal.SIGHUP)
    until(place.server, lambda s: s["generation"] == 2 and s["rolling"]["active"], "renewing")
    assert place.server.part("ledger") != ledger
    both_hear(line, place.peers["bob"])
    line.hang_up()
    done = until(place.server, lambda s: names(s) and not s["rolling"]["active"], "renewed")
    assert done["workers"][0]["pid"] != first
    call(place)
