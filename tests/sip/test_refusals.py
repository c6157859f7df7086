# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls that are not taken: unknown number, no common codec, no room."""

from collections.abc import Iterator

import pytest

from demo.driver import Peer
from sip.harness import House, both_hear


def test_an_unknown_number_gets_404(house: House, alice: Peer) -> None:
    alice.call(house.server.uri("999"))
    assert alice.wait("disconnected")["code"] == 404
    assert not house.events()


@pytest.fixture
def gsm_only() -> Iterator[Peer]:
    with Peer("gsm", codecs=["GSM"]) as peer:
        yield peer


def test_no_common_codec_gets_488(house: House, gsm_only: Peer) -> None:
    gsm_only.call(house.server.uri("100"))
    assert gsm_only.wait("disconnected")["code"] == 488
    assert not [event for event in house.events() if event.type == "call.answered"]


@pytest.mark.parametrize("codec", ["PCMU", "PCMA", "G722"])
def test_each_codec_alone_is_recorded(house: House, bob: Peer, codec: str) -> None:
    with Peer(f"only-{codec.lower()}", codecs=[codec], tone=440) as caller:
        line = house.ring(caller, "100")
        line.wait("recording.started")
        both_hear(line, bob)
        line.hang_up()
        assert line.only("call.answered").data["codec"] == codec
        assert line.kept_ms() > 500


def test_a_third_call_gets_486_and_disturbs_nobody(house: House, alice: Peer, bob: Peer) -> None:
    with Peer("dave", tone=600) as dave, Peer("erin", tone=700) as erin:
        first = house.ring(alice, "400")
        second = house.ring(dave, "400")
        first.wait("bridge.started")
        second.wait("bridge.started")
        erin.call(house.server.uri("400"))
        assert erin.wait("disconnected")["code"] == 486
        alice.hear(1000)
        dave.hear(1000)
        first.hang_up()
        erin.call(house.server.uri("400"))
        erin.wait("confirmed")
        erin.hangup()
        second.hang_up()
