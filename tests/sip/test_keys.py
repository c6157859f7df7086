# SPDX-License-Identifier: GPL-3.0-or-later
"""The refuse and withdraw key in every state of a call, from either side, by every way a telephone sends keys."""

import pytest

from demo.driver import Peer
from sip.harness import House, Line, both_hear


def _until(line: Line, bob: Peer, state: str) -> None:
    """Lets the call come into this state."""
    match state:
        case "ringing":
            bob.wait("incoming")
        case "whisper":
            line.wait("party.joined")
        case "bridge":
            line.wait("recording.started")


@pytest.mark.parametrize("state", ["ringing", "whisper"])
def test_the_caller_withdraws_before_the_bridge(house: House, alice: Peer, bob: Peer, state: str) -> None:
    bob.incoming("answer", after_ms=1500 if state == "ringing" else 100)
    line = house.ring(alice, "100")
    _until(line, bob, state)
    line.press("9")
    line.wait("consent.withdrawn", party="caller", key="9")
    line.wait("bridge.started")
    both_hear(line, bob)
    line.hang_up()
    assert line.decided() == ["not_objected"]
    told = line.events("agent.informed")
    assert [event.data["recorded"] for event in told] == [state == "whisper"]
    line.unrecorded()


def test_the_caller_withdraws_in_the_bridge(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "100")
    _until(line, bob, "bridge")
    both_hear(line, bob)
    line.press("9")
    stopped = line.wait("recording.stopped")
    withdrawn = line.only("consent.withdrawn")
    both_hear(line, bob)
    line.hang_up()
    assert (stopped.data["reason"], stopped.data["erased"]) == ("withdrawn", False)
    started = line.only("recording.permitted").data["at_ms"]
    assert line.kept_ms() <= withdrawn.data["at_ms"] - started + 40
    assert not bob.seen("digit"), "the withdraw key reached the other side"


def test_a_withdrawal_that_erases(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "110")
    _until(line, bob, "bridge")
    both_hear(line, bob)
    line.press("9")
    stopped = line.wait("recording.stopped")
    erased = line.wait("recording.erased")
    line.hang_up()
    assert erased.data["recording"] == stopped.data["recording"]
    files = house.server.folder / "data"
    assert not list(files.glob(f"recordings/{line.call}/**/*.age"))
    assert not list(files.glob(f"keystore/{stopped.data['recording']}*"))


def test_the_agent_refuses_while_being_told(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "100")
    line.wait("party.joined")
    bob.dtmf("9")
    line.wait("consent.decided", party="agent-1", decision="refused")
    line.wait("bridge.started")
    both_hear(line, bob)
    line.hang_up()
    line.unrecorded()


def test_the_agent_withdraws_in_the_bridge(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "100")
    _until(line, bob, "bridge")
    both_hear(line, bob)
    bob.dtmf("9")
    stopped = line.wait("recording.stopped")
    both_hear(line, bob)
    line.hang_up()
    assert line.only("consent.withdrawn").data["party"] == "agent-1"
    assert stopped.data["reason"] == "withdrawn_by_other"
    assert not alice.seen("digit"), "the withdraw key reached the other side"


@pytest.mark.parametrize("state", ["ringing", "whisper", "bridge"])
def test_a_yes_that_comes_too_late_is_none(house: House, alice: Peer, bob: Peer, state: str) -> None:
    bob.incoming("answer", after_ms=1000 if state == "ringing" else 100)
    line = house.ring(alice, "200")
    line.wait("notice.completed")
    line.press("2")
    if state == "bridge":
        line.wait("bridge.started")
    else:
        _until(line, bob, state)
    line.press("1")
    line.wait("bridge.started")
    both_hear(line, bob)
    line.hang_up()
    assert line.decided() == ["refused"]
    line.unrecorded()


def test_other_keys_pass_through_the_bridge_both_ways(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "100")
    _until(line, bob, "bridge")
    both_hear(line, bob)
    line.press("5")
    bob.wait("digit", key="5", by="rfc4733")
    line.press("#", "info")
    bob.wait("digit", key="#")
    bob.dtmf("7")
    alice.wait("digit", key="7", by="rfc4733")
    line.hang_up()
    line.none("consent.withdrawn", "consent.signalled")


def test_a_key_by_info_counts(house: House, alice: Peer) -> None:
    line = house.ring(alice, "100")
    line.in_notice()
    line.press("9", "info")
    line.wait("consent.decided", decision="refused", source="info")
    line.hang_up()
    line.unrecorded()


@pytest.mark.parametrize("key", ["7", "9"])
def test_either_of_two_keys_withdraws_in_the_bridge(house: House, alice: Peer, bob: Peer, key: str) -> None:
    line = house.ring(alice, "600")
    line.wait("recording.started")
    both_hear(line, bob)
    line.press(key)
    assert line.wait("consent.withdrawn").data["key"] == key
    assert line.wait("recording.stopped").data["reason"] == "withdrawn"
    both_hear(line, bob)
    line.hang_up()
    assert not bob.seen("digit"), "the key reached the other side"


@pytest.mark.parametrize("key", ["7", "9"])
def test_either_of_two_keys_refuses_in_the_notice(house: House, alice: Peer, bob: Peer, key: str) -> None:
    line = house.ring(alice, "600")
    line.in_notice()
    line.press(key)
    line.wait("consent.decided", decision="refused", key=key)
    line.wait("bridge.started")
    both_hear(line, bob)
    line.hang_up()
    assert line.decided() == ["refused"]
    line.unrecorded()


def test_a_withdrawal_in_a_menu_and_the_menu_goes_on(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "700")
    line.wait("consent.decided", decision="not_objected")
    line.press("9")
    assert line.wait("consent.withdrawn").data["key"] == "9"
    line.press("1")
    line.wait("bridge.started")
    both_hear(line, bob)
    line.hang_up()
    assert line.only("agent.informed").data["recorded"] is False
    line.unrecorded()


def test_a_refusal_before_the_notice_and_once_more(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "800")
    line.wait("call.answered")
    line.press("99")
    assert line.wait("consent.decided").data["key"] == "9"
    line.press("9")
    line.press("1")
    line.wait("bridge.started")
    both_hear(line, bob)
    line.hang_up()
    assert line.decided() == ["refused"]
    line.none("notice.started")
    assert len(line.events("consent.signalled")) == 1
    line.unrecorded()
