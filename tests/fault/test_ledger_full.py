# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger's disk is full under a real server: calls are served, unrecorded, and the log says so once it can.

The limit on the size of files stands for the disk: it fills and empties at will, for the ledger and not for the worker.
"""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.driver import Peer
from demo.server import Server, ServerFailed
from sip.conftest import judged_by_ivr, open_server
from sip.harness import ALICE_HZ, BOB_HZ, House, Notices, both_hear, consent, flow

# Three pages of SQLite's: less than any event needs.
NO_ROOM = 16_384


@pytest.fixture
def place(tmp_path: Path) -> Iterator[House]:
    """A server of its own with alice, and bob who answers."""
    notices = Notices(tmp_path)
    with Peer("alice", tone=ALICE_HZ) as alice, Peer("bob", tone=BOB_HZ) as bob:
        flows = {"optout": flow("100", consent(notices, "opt_out"), bob.uri)}
        place = House(open_server(tmp_path / "server", flows, {"ledger": {"permit_timeout": "500ms"}}))
        place.add(alice)
        place.add(bob)
        bob.incoming("answer", after_ms=100)
        with place.server:
            yield place
        judged_by_ivr(place.server)


def room(server: Server, size: int) -> None:
    """How long the files of the ledger, and of those that are started in its place, may be."""
    _limit(server.pid, size)
    try:
        _limit(server.part("ledger"), size)
    except (ServerFailed, ProcessLookupError):
        return  # it is dead already: the next one gets its limit from who starts it


def _limit(pid: int, size: int) -> None:
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


def test_a_call_in_its_notice_is_served_unrecorded(place: House) -> None:
    alice, bob = place.peers["alice"], place.peers["bob"]
    line = place.ring(alice, "100")
    line.in_notice()
    first = place.server.part("ledger")
    room(place.server, NO_ROOM)
    bob.wait("confirmed", within=20)
    both_hear(line, bob)
    line.none("recording.permitted", "recording.blocked", "bridge.started")
    room(place.server, resource.RLIM_INFINITY)
    blocked = line.wait("recording.blocked", within=30)
    assert blocked.data["reason"] == "ledger"
    line.wait("ledger.unreachable")
    assert place.server.part("ledger") != first
    both_hear(line, bob)
    line.hang_up()
    line.unrecorded()
    place.end()
