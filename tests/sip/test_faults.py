# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that stop or die in mid-call: what the caller meets, what is kept, and what the log says afterwards."""

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from demo.driver import Peer
from demo.server import answers_sip
from ivr.vault.segments import parse_segment_name
from sip.conftest import judged_by_ivr, open_server
from sip.harness import ALICE_HZ, BOB_HZ, House, Notices, both_hear, consent, flow


@pytest.fixture(scope="module")
def killable(tmp_path_factory: pytest.TempPathFactory, notices: Notices) -> Iterator[House]:
    """A server that the tests may kill, and start again; the log is the same all along, and is judged at the end."""
    folder = tmp_path_factory.mktemp("killable") / "server"
    with Peer("alice", tone=ALICE_HZ) as alice, Peer("bob", tone=BOB_HZ) as bob:
        flows = {"optout": flow("100", consent(notices, "opt_out"), bob.uri)}
        house = House(open_server(folder, flows, {"limits": {"drain_timeout": "8s"}}))
        house.add(alice)
        house.add(bob)
        bob.incoming("answer", after_ms=100)
        with house.server:
            yield house
        judged_by_ivr(house.server)


@pytest.fixture
def place(killable: House) -> Iterator[House]:
    """It, running; the omnibus check comes after each test."""
    if not killable.server.runs:
        killable.server.start()
    killable.begin()
    yield killable
    killable.end()


def test_sigterm_lets_the_call_finish_and_takes_no_other(place: House) -> None:
    alice, bob = place.peers["alice"], place.peers["bob"]
    with Peer("late") as late:
        assert late.port  # a telephone takes a while to start, and the server does not wait for it
        line = place.ring(alice, "100")
        line.wait("recording.started")
        os.kill(place.server.pid, signal.SIGTERM)
        place.server.log.wait("node.draining", since=line.only("call.received").seq)
        late.call(place.server.uri("100"))
        assert late.wait("disconnected")["code"] == 503
        both_hear(line, bob)
        line.hang_up()
    assert place.server.ended() == 0
    assert line.only("recording.stopped").data["reason"] == "caller_left"
    assert place.server.log.wait("node.stopped", since=line.only("call.received").seq)


def test_sigterm_ends_a_call_that_does_not_end(place: House) -> None:
    alice = place.peers["alice"]
    line = place.ring(alice, "100")
    line.wait("recording.started")
    os.kill(place.server.pid, signal.SIGTERM)
    alice.wait("disconnected", within=20)
    assert place.server.ended() == 0
    line.wait("call.ended")
    assert line.kept_ms() > 3000


def test_the_ledger_dies_and_the_recording_stops_but_not_the_call(place: House) -> None:
    alice, bob = place.peers["alice"], place.peers["bob"]
    line = place.ring(alice, "100")
    line.wait("recording.started")
    os.kill(place.server.part("ledger"), signal.SIGKILL)
    line.wait("ledger.unreachable", within=20)
    stopped = line.wait("recording.stopped", within=20)
    assert stopped.data["reason"] == "ledger"
    both_hear(line, bob)
    line.hang_up()
    place.check()


def test_the_ledger_hangs_and_the_recording_stops_but_not_the_call(place: House) -> None:
    alice, bob = place.peers["alice"], place.peers["bob"]
    line = place.ring(alice, "100")
    started = line.wait("recording.started")
    both_hear(line, bob)
    ledger, said = place.server.part("ledger"), len(place.server.output)
    os.kill(ledger, signal.SIGSTOP)
    try:
        # Nobody says anything meanwhile, and its connection stays open.
        place.server.wrote("the ledger is gone", since=said)
        both_hear(line, bob)
        gone_at = len(place.server.output)
        alice.listen(3000)
    finally:
        os.kill(ledger, signal.SIGCONT)
    place.server.wrote("the ledger is back", since=gone_at)
    line.wait("ledger.unreachable")
    stopped = line.wait("recording.stopped")
    assert stopped.data["reason"] == "ledger"
    noticed = line.only("ledger.unreachable").data["at_ms"] - started.data["at_ms"]
    # The three seconds after it was noticed are not in the recording.
    assert line.kept_ms() < noticed + 1500
    both_hear(line, bob)
    line.hang_up()
    place.check()


def test_the_worker_dies_and_is_replaced(place: House) -> None:
    alice, bob = place.peers["alice"], place.peers["bob"]
    line = place.ring(alice, "100")
    line.wait("recording.started")
    both_hear(line, bob)
    since = place.server.log.next
    os.kill(place.server.part("worker"), signal.SIGKILL)
    # Its place is taken so soon that the ledger has not missed it yet: what it goes by now is the new one's first word.
    place.server.log.wait("policy.adopted", since=since, within=30)
    lost = line.wait("call.lost")
    assert lost.data["reason"] == "worker-lost"
    for peer in (alice, bob):
        peer.hangup()
        peer.mark()
    again = place.ring(alice, "100")
    again.wait("recording.started")
    both_hear(again, bob)
    again.hang_up()
    place.check()


def test_everything_is_killed_and_the_next_start_says_what_was_lost(place: House) -> None:
    alice, bob = place.peers["alice"], place.peers["bob"]
    line = place.ring(alice, "100")
    started = line.wait("recording.started")
    both_hear(line, bob)
    segments = place.server.folder / "data" / "recordings" / line.call / str(started.data["recording"])
    alice.listen(2500)
    began = datetime.fromisoformat(started.time)
    killed = datetime.now(UTC)
    place.server.kill()
    assert not answers_sip(place.server.port)
    kept = [parse_segment_name(path.name) for path in sorted(segments.glob("*.flac.age"))]
    place.server.start()
    line.wait("call.lost", within=20)
    place.check()
    named = {
        (segment["n"], segment["start"], segment["samples"])
        for event in line.events("recording.sealed", "recording.stopped", "call.lost")
        for segment in event.data.get("segments", [])
    }
    assert named == set(kept)
    kept_ms = sum(samples for _, _, samples in filter(None, kept)) * 1000 // int(started.data["rate"])
    assert kept_ms >= (killed - began) / timedelta(milliseconds=1) - 2000
    done = place.server.ivr("call", "show", line.call)
    assert done.status == 0
    assert "lost" in done.out
