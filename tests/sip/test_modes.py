# SPDX-License-Identifier: GPL-3.0-or-later
"""The four consent modes, on real calls: who is recorded, who is not, and that both are connected all the same."""

import pytest

from demo.driver import Peer
from sip.harness import ALICE_HZ, BOB_HZ, House, both_hear


def test_opt_out_records_who_says_nothing(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "100")
    line.wait("recording.started")
    both_hear(line, bob)
    line.hang_up()
    assert line.decided() == ["not_objected"]
    order = [
        t for t in line.types if t in ("notice.completed", "agent.informed", "recording.permitted", "recording.armed")
    ]
    assert order == ["notice.completed", "agent.informed", "recording.permitted", "recording.armed"]
    assert line.only("agent.informed").data["recorded"] is True
    talked = line.only("bridge.ended").data["duration_ms"]
    assert abs(line.kept_ms() - talked) < 300
    assert line.only("call.ended").data["outcome"] == "completed"


def test_opt_out_does_not_record_who_refuses(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "100")
    line.in_notice()
    line.press("9")
    line.wait("bridge.started")
    both_hear(line, bob)
    line.hang_up()
    assert line.decided() == ["refused"]
    assert line.only("notice.interrupted").data["reason"] == "stopped"
    assert line.only("agent.informed").data["recorded"] is False
    line.unrecorded()


@pytest.mark.parametrize("when", ["in the notice", "in the window"])
def test_opt_in_records_who_agrees(house: House, alice: Peer, bob: Peer, when: str) -> None:
    line = house.ring(alice, "200")
    line.in_notice() if when == "in the notice" else line.wait("notice.completed")
    line.press("1")
    line.wait("recording.started")
    both_hear(line, bob)
    line.hang_up()
    assert line.decided() == ["granted"]
    assert "notice.interrupted" not in line.types  # an early yes still hears the notice to its end
    assert line.kept_ms() > 500


@pytest.mark.parametrize("key", [None, "2", "5"])
def test_opt_in_does_not_record_silence_or_another_key(house: House, alice: Peer, bob: Peer, key: str | None) -> None:
    line = house.ring(alice, "200")
    line.wait("notice.completed")
    if key:
        line.press(key)
    line.wait("bridge.started")
    both_hear(line, bob)
    line.hang_up()
    assert line.decided() == ["refused" if key == "2" else "not_given"]
    line.unrecorded()


def test_required_records_and_has_an_unrecorded_way(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "300")
    line.wait("recording.started")
    line.hang_up()
    assert line.decided() == ["informed"]
    assert line.only("recording.stopped").data["reason"] == "caller_left"
    bob.mark()
    other = house.ring(alice, "300")
    other.in_notice()
    other.press("9")
    other.wait("bridge.started")
    both_hear(other, bob)
    other.hang_up()
    assert other.decided() == ["refused"]
    other.unrecorded()


def test_never_never_records(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "400")
    line.wait("bridge.started")
    both_hear(line, bob, (ALICE_HZ, BOB_HZ))
    line.hang_up()
    line.none("consent.decided", "notice.started", "recording.blocked")
    assert line.only("agent.informed").data["recorded"] is False
    line.unrecorded()
