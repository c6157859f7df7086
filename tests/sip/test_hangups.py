# SPDX-License-Identifier: GPL-3.0-or-later
"""Both sides hang up in every state of a call, and agents who do not take it."""

import pytest

from demo.driver import Peer
from sip.harness import House, both_hear


def test_the_caller_hangs_up_in_the_notice(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "100")
    line.in_notice()
    ended = line.hang_up()
    assert line.only("notice.interrupted").data["reason"] == "hangup"
    assert ended.data["outcome"] == "abandoned"
    line.none("consent.decided", "recording.blocked")
    line.unrecorded()
    assert not bob.seen("incoming")


def test_the_caller_hangs_up_in_the_window(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "200")
    line.wait("notice.completed")
    line.hang_up()
    line.none("consent.decided", "recording.blocked")
    line.unrecorded()
    assert not bob.seen("incoming")


def test_the_caller_hangs_up_while_the_agent_rings(house: House, alice: Peer, bob: Peer) -> None:
    bob.incoming("ring")
    line = house.ring(alice, "100")
    bob.wait("incoming")
    line.hang_up()
    assert bob.wait("disconnected")["code"] == 487
    line.none("party.joined")
    line.unrecorded()


def test_the_caller_hangs_up_while_the_agent_is_told(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "100")
    line.wait("party.joined")
    line.hang_up()
    bob.wait("disconnected")
    line.none("bridge.started", "agent.informed")
    line.unrecorded()


def test_the_caller_hangs_up_in_the_bridge(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "100")
    line.wait("recording.started")
    both_hear(line, bob)
    line.hang_up()
    bob.wait("disconnected")
    assert line.only("recording.stopped").data["reason"] == "caller_left"
    assert line.types[-1] == "call.ended"


def test_the_agent_hangs_up_in_the_bridge(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "100")
    line.wait("recording.started")
    both_hear(line, bob)
    bob.hangup()
    line.wait("call.ended")
    alice.wait("disconnected")
    assert line.only("bridge.ended").data["party"] == "agent-1"
    assert line.kept_ms() > 300
    assert line.only("call.ended").data["outcome"] == "completed"


def test_the_agent_hangs_up_while_being_told_and_the_fallback_answers(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "100")
    line.wait("party.joined")
    bob.hangup()
    assert line.wait("bridge.failed").data["reason"] == "agent_left"
    line.wait("call.ended")
    alice.wait("disconnected")
    line.none("bridge.started")
    line.unrecorded()


@pytest.mark.parametrize(("code", "reason"), [(486, "busy"), (480, "no_answer"), (603, "failed")])
def test_an_agent_who_declines_is_followed_by_the_next(
    house: House, alice: Peer, bob: Peer, carol: Peer, code: int, reason: str
) -> None:
    carol.incoming("reject", code=code)
    line = house.ring(alice, "500")
    failed = line.wait("bridge.failed")
    assert (failed.data["target"], failed.data["status"], failed.data["reason"]) == (1, code, reason)
    line.wait("recording.started")
    both_hear(line, bob)
    line.hang_up()


def test_an_agent_who_does_not_answer_is_followed_by_the_next(
    house: House, alice: Peer, bob: Peer, carol: Peer
) -> None:
    carol.incoming("ring")
    line = house.ring(alice, "500")
    assert line.wait("bridge.failed").data["reason"] == "no_answer"
    carol.wait("disconnected")
    line.wait("recording.started")
    both_hear(line, bob)
    line.hang_up()


def test_nobody_answers_and_the_caller_hears_so(house: House, alice: Peer, bob: Peer, carol: Peer) -> None:
    carol.incoming("reject", code=486)
    bob.incoming("reject", code=486)
    line = house.ring(alice, "500")
    line.wait("bridge.failed", count=2)
    line.wait("call.ended")
    assert alice.wait("disconnected")["code"] == 200
    assert [event.data["reason"] for event in line.events("bridge.failed")] == ["busy", "busy"]
    line.unrecorded()


def test_an_agent_with_early_media_is_not_answered_by_it(house: House, alice: Peer, bob: Peer) -> None:
    bob.incoming("answer", early=True, after_ms=1500)
    line = house.ring(alice, "100")
    bob.wait("media", held=False)
    line.none("party.joined", "recording.permitted")
    line.wait("recording.started")
    both_hear(line, bob)
    line.hang_up()
    types = line.types
    assert types.index("party.joined") < types.index("agent.informed") < types.index("recording.permitted")
