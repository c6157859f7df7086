# SPDX-License-Identifier: GPL-3.0-or-later
"""RFC 7866 section 6.1.2: a record-aware phone is told by SDP what is so, when it becomes so."""

import re

from demo.driver import Peer
from sip.harness import House


def _indications(peer: Peer) -> list[str]:
    return [
        found for event in peer.seen("sdp") for found in re.findall(r"^a=record:(\w+)", event["text"], re.MULTILINE)
    ]


def test_a_record_aware_caller_is_told_off_on_off(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "100", headers={"Supported": "record-aware"})
    line.wait("recording.started")
    line.wait("leg.renegotiated")
    line.press("9")
    line.wait("recording.stopped")
    alice.wait("sdp", count=3)
    line.hang_up()
    assert _indications(alice) == ["off", "on", "off"]


def test_a_phone_that_is_not_record_aware_is_left_alone(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "100")
    line.wait("recording.started")
    line.hang_up()
    assert _indications(alice) == []
    assert "leg.renegotiated" not in line.types
