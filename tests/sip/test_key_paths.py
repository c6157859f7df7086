# SPDX-License-Identifier: GPL-3.0-or-later
"""Telephones without telephone-event: the key is heard another way, or nothing is recorded and the log says why."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.driver import Peer
from sip.conftest import judged_by_ivr, open_server
from sip.harness import ALICE_HZ, BOB_HZ, House, Notices, both_hear, consent, flow


@pytest.fixture(scope="module")
def settings() -> dict[str, dict[str, object]]:
    return {"sip": {"info_dtmf": False, "inband_dtmf": True}}


@pytest.fixture
def old_phone() -> Iterator[Peer]:
    with Peer("oldphone", tone=ALICE_HZ, telephone_event=False, codecs=["PCMU", "PCMA"]) as peer:
        yield peer


def test_a_key_as_sound_refuses_in_the_notice(house: House, old_phone: Peer, bob: Peer) -> None:
    line = house.ring(old_phone, "100")
    line.in_notice()
    line.press("9", "inband")
    assert line.wait("consent.decided").data["source"] == "inband"
    line.wait("bridge.started")
    both_hear(line, bob)
    line.hang_up()
    assert line.only("call.answered").data["key_paths"] == ["inband"]
    assert line.decided() == ["refused"]
    line.unrecorded()


def test_a_key_as_sound_withdraws_in_the_bridge(house: House, old_phone: Peer, bob: Peer) -> None:
    line = house.ring(old_phone, "100")
    line.wait("recording.started")
    both_hear(line, bob)
    line.press("9", "inband")
    line.wait("recording.stopped", reason="withdrawn")
    line.hang_up()
    assert line.only("consent.withdrawn").data["source"] == "inband"


def test_another_key_as_sound_is_nothing(house: House, old_phone: Peer, bob: Peer) -> None:
    line = house.ring(old_phone, "100")
    line.wait("recording.started")
    line.press("52", "inband")
    both_hear(line, bob)
    line.hang_up()
    line.none("consent.withdrawn")


def test_where_no_key_can_be_heard_nothing_is_recorded(tmp_path: Path, notices: Notices, old_phone: Peer) -> None:
    with Peer("bob", tone=BOB_HZ) as bob:
        flows = {"optout": flow("100", consent(notices, "opt_out"), bob.uri)}
        with open_server(tmp_path / "server", flows, {"sip": {"info_dtmf": False, "inband_dtmf": False}}) as server:
            line = House(server, {"bob": bob, "oldphone": old_phone}).ring(old_phone, "100")
            line.wait("bridge.started")
            both_hear(line, bob)
            line.hang_up()
        assert line.only("call.answered").data["key_paths"] == []
        assert line.only("recording.blocked").data["reason"] == "no_key_path"
        line.none("notice.started", "consent.decided")
        line.unrecorded()
        judged_by_ivr(server)
