# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody outside moves a call to somebody else: a permit names its parties, and a REFER would make the server dial."""

from collections.abc import Iterator

import pytest

from demo.driver import Peer
from sip.barephone import BarePhone
from sip.harness import House, Line


@pytest.fixture
def bridged(house: House, alice: Peer) -> Iterator[tuple[BarePhone, Line]]:
    """A caller of bare sockets who is talking to the agent."""
    with BarePhone(("127.0.0.1", house.server.port)) as phone:
        answer = phone.up("400")
        phone.line.start(answer.media)
        call = house.server.log.wait("call.received", sip_call_id=phone.call_id).call
        line = Line(house, alice, 0, call or "")
        line.wait("bridge.started")
        yield phone, line
        assert phone.request("BYE").status == 200
        line.wait("call.ended")


def test_a_refer_is_declined_and_nobody_is_dialled(
    house: House, bridged: tuple[BarePhone, Line], alice: Peer, bob: Peer, carol: Peer
) -> None:
    phone, line = bridged
    before = line.types
    answer = phone.request("REFER", more={"Refer-To": f"<{carol.uri}>", "Referred-By": f"<{alice.uri}>"})
    assert answer.status == 603
    assert line.types == before
    assert not carol.seen("incoming")
    assert not bob.seen("disconnected")


def test_an_invite_that_would_replace_a_party_is_declined(
    house: House, bridged: tuple[BarePhone, Line], bob: Peer
) -> None:
    phone, line = bridged
    before = line.types
    with BarePhone(("127.0.0.1", house.server.port)) as thief:
        thief.invite("400", more={"Replaces": phone.dialog, "Require": "replaces"})
        assert thief.answered().status == 603
    assert line.types == before
    assert not bob.seen("disconnected")
    assert [event.type for event in house.events()].count("call.received") == 1
