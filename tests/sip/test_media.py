# SPDX-License-Identifier: GPL-3.0-or-later
"""What a telephone may do to its media: hold, re-INVITE, recording preference (RFC 7866), silence on the wire."""

import os
import time
from contextlib import suppress
from pathlib import Path

from demo.driver import Peer
from sip.harness import House, both_hear


def test_hold_in_the_notice_gives_no_permit(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "100")
    line.in_notice()
    alice.send("hold")
    assert line.wait("recording.blocked").data["reason"] == "notice_held"
    alice.send("unhold")
    line.wait("bridge.started")
    both_hear(line, bob)
    line.hang_up()
    line.none("notice.completed", "consent.decided")
    line.unrecorded()


def test_a_reinvite_in_the_notice_gives_no_permit(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "100")
    line.in_notice()
    alice.send("reinvite")
    assert line.wait("recording.blocked").data["reason"] == "notice_renegotiated"
    line.wait("bridge.started")
    both_hear(line, bob)
    line.hang_up()
    line.none("notice.completed", "consent.decided")
    line.unrecorded()


def test_hold_in_the_bridge_pauses_the_recording(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "100")
    line.wait("recording.started")
    both_hear(line, bob)
    alice.send("hold")
    paused = line.wait("recording.paused")
    alice.send("unhold")
    resumed = line.wait("recording.resumed")
    both_hear(line, bob)
    line.hang_up()
    spans = line.only("recording.stopped").data["spans"]
    assert len(spans) == 2
    gap = resumed.data["at_ms"] - paused.data["at_ms"]
    talked = line.only("bridge.ended").data["duration_ms"]
    assert line.kept_ms() <= talked - gap + 300


def test_the_agent_holds_and_the_recording_pauses(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "100")
    line.wait("recording.started")
    bob.send("hold")
    assert line.wait("leg.held").data["party"] == "agent-1"
    line.wait("recording.paused")
    bob.send("unhold")
    line.wait("recording.resumed")
    both_hear(line, bob)
    line.hang_up()


def test_a_preference_in_the_invite_is_a_refusal(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "100", headers={"Supported": "record-aware"}, sdp=["a=recordpref:off"])
    assert line.wait("consent.decided").data["source"] == "sip:recordpref"
    line.wait("bridge.started")
    both_hear(line, bob)
    line.hang_up()
    assert line.decided() == ["refused"]
    line.none("notice.completed")
    line.unrecorded()


def test_a_preference_in_mid_call_is_a_withdrawal(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "100", headers={"Supported": "record-aware"})
    line.wait("recording.started")
    both_hear(line, bob)
    alice.wait_sdp("a=record:on")
    alice.mark()
    alice.send("reinvite", sdp=["a=recordpref:off"])
    assert line.wait("consent.withdrawn").data["source"] == "sip:recordpref"
    line.wait("recording.stopped")
    alice.wait_sdp("a=record:off")
    both_hear(line, bob)
    line.hang_up()


def test_a_telephone_that_knows_nothing_of_recording_is_told_nothing(house: House, alice: Peer) -> None:
    line = house.ring(alice, "100")
    line.wait("recording.started")
    line.hang_up()
    assert not [sdp for sdp in alice.seen("sdp") if "a=record" in sdp["text"]]


def test_a_call_that_begins_on_hold_is_not_recorded(house: House, alice: Peer) -> None:
    line = house.ring(alice, "100", sdp=["a=sendonly"])
    line.wait("bridge.started")
    line.hang_up()
    line.none("notice.completed")
    line.unrecorded()


def test_a_leg_that_goes_inactive_is_on_hold(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "100")
    line.wait("recording.started")
    both_hear(line, bob)
    alice.send("reinvite", sdp=["a=inactive"])
    assert line.wait("leg.held").data["party"] == "caller"
    line.wait("recording.paused")
    line.hang_up()
    assert line.only("recording.stopped").data["samples"] > 0


def test_a_long_recording_does_not_pile_up_in_memory(house: House, alice: Peer) -> None:
    """The recorder's memory is as long as the call; what was sealed of it is given back."""
    line = house.ring(alice, "100")
    line.wait("recording.started")
    deadline = time.monotonic() + 60
    while min(sizes := [info.st_size for info in _memories(house)], default=0) < 300_000:
        assert time.monotonic() < deadline, sizes
        time.sleep(0.2)
    assert len(sizes) == 2
    # Of 18 s at most 8 s wait to be given back, and as much as is not drained yet.
    assert [info.st_blocks * 512 for info in _memories(house) if info.st_blocks * 512 > 180_000] == []
    line.hang_up()


def _memories(house: House) -> list[os.stat_result]:
    """Of the two recorders that run: each has one descriptor of ours and one of PJMEDIA's for the same memory."""
    found: dict[int, os.stat_result] = {}
    for pid in house.server.family():
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                if os.readlink(fd).startswith("/memfd:assent-"):
                    info = os.stat(fd)
                    found[info.st_ino] = info
    return list(found.values())
