# SPDX-License-Identifier: GPL-3.0-or-later
"""Where no compiler was at hand the clock's loop runs in Python: keys, both voices and the recording are the same."""

from collections.abc import Iterator

import pytest

from demo.driver import Peer
from ivr.sip.mediaclock import CHOICE
from sip.conftest import judged_by_ivr, open_server
from sip.harness import ALICE_HZ, BOB_HZ, House, Notices, both_hear, consent, flow


@pytest.fixture
def place(
    tmp_path_factory: pytest.TempPathFactory, notices: Notices, monkeypatch: pytest.MonkeyPatch
) -> Iterator[House]:
    monkeypatch.setenv(CHOICE, "python")
    folder = tmp_path_factory.mktemp("python") / "server"
    with Peer("alice", tone=ALICE_HZ) as alice, Peer("bob", tone=BOB_HZ) as bob:
        house = House(open_server(folder, {"bob": flow("100", consent(notices, "opt_out"), bob.uri)}, {}))
        house.add(alice)
        house.add(bob)
        bob.incoming("answer", after_ms=100)
        with house.server:
            house.begin()
            yield house
            house.end()
        judged_by_ivr(house.server)


def test_a_call_is_recorded_and_another_is_refused(place: House) -> None:
    recorded = place.ring(place.peers["alice"], "100")
    recorded.wait("recording.started")
    both_hear(recorded, place.peers["bob"])
    recorded.hang_up()
    assert recorded.kept_ms() > 0
    refused = place.ring(place.peers["alice"], "100")
    refused.in_notice()
    refused.press("9")
    refused.wait("bridge.started")
    both_hear(refused, place.peers["bob"])
    refused.hang_up()
    refused.unrecorded()
