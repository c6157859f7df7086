# SPDX-License-Identifier: GPL-3.0-or-later
"""Callers whose telephone is broken or hostile: none may keep one of the few places of a worker."""

from collections.abc import Iterator

import pytest

from bench.sip import sdp
from demo.driver import Peer
from demo.logtail import LogTail
from ivr.ledger.query import ShownEvent
from sip.barephone import BarePhone
from sip.harness import House, both_hear


@pytest.fixture(scope="module")
def settings() -> dict[str, dict[str, object]]:
    return {"limits": {"drain_timeout": "5s", "calls": 1, "media_timeout": "2s"}}


@pytest.fixture
def phone(house: House) -> Iterator[BarePhone]:
    with BarePhone(("127.0.0.1", house.server.port)) as phone:
        yield phone


def _received(house: House, phone: BarePhone) -> str:
    return house.server.log.wait("call.received", sip_call_id=phone.call_id).call or ""


def _end(log: LogTail, call: str) -> ShownEvent:
    return log.wait("call.ended", call=call, within=20)


def _the_place_is_free(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "400")
    line.wait("bridge.started")
    both_hear(line, bob)
    line.hang_up()


def test_a_caller_from_whom_no_packet_comes_is_hung_up(house: House, alice: Peer, bob: Peer, phone: BarePhone) -> None:
    phone.up("100")
    ended = _end(house.server.log, _received(house, phone))
    assert (ended.data["outcome"], ended.data["reason"]) == ("failed", "no_media")
    phone.told("BYE")
    types = [event.type for event in house.events()]
    assert types.count("notice.interrupted") == types.count("notice.started") == 1
    assert not {"recording.permitted", "recording.blocked"} & set(types)
    _the_place_is_free(house, alice, bob)


def test_a_call_without_any_media_ends(house: House, alice: Peer, bob: Peer, phone: BarePhone) -> None:
    phone.invite("100", body=sdp(phone.line.port).replace("a=sendrecv", "a=inactive"))
    assert phone.answered().status == 200
    phone.ack()
    ended = _end(house.server.log, _received(house, phone))
    assert (ended.data["outcome"], ended.data["reason"]) == ("failed", "no_media")
    phone.told("BYE")
    assert "recording.permitted" not in [event.type for event in house.events()]
    _the_place_is_free(house, alice, bob)


def test_a_caller_who_never_acknowledges_is_ended(house: House, alice: Peer, bob: Peer, phone: BarePhone) -> None:
    phone.invite("100")
    assert phone.answered().status == 200
    call = _received(house, phone)
    ended = _end(house.server.log, call)
    assert (ended.data["outcome"], ended.data["reason"]) == ("failed", "no_media")
    assert "notice.started" not in [event.type for event in house.server.log.of(call)]
    _the_place_is_free(house, alice, bob)


@pytest.mark.parametrize("after_ms", [0, 1, 2, 4, 8])
def test_a_cancel_that_races_the_answer(house: House, phone: BarePhone, after_ms: int) -> None:
    phone.invite("100")
    phone._wire.receive(after_ms / 1000)
    phone.cancel()
    status = phone.answered().status
    assert status in (200, 487)
    call = _received(house, phone)
    if status == 200:
        phone.ack()
        assert phone.request("BYE").status == 200
    ended = _end(house.server.log, call)
    assert ended.data["outcome"] == "abandoned"
    house.server.log.poll()
    assert [event.type for event in house.events()].count("call.ended") == 1
    assert not {"recording.permitted", "recording.started"} & {event.type for event in house.events()}
