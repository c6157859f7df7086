# SPDX-License-Identifier: GPL-3.0-or-later
"""PJSIP aborts when its 64 handles run out. A flood of INVITEs must cost neither the worker nor the call that is up."""

import subprocess
from pathlib import Path

from demo.driver import Peer
from demo.server import free_port
from sip.harness import ALICE_HZ, BOB_HZ, House


def _sipp(house: House, folder: Path, number: str, *how: str) -> subprocess.CompletedProcess[str]:
    target = house.server.uri(number).rpartition("@")[2]
    command = ["sipp", *how, "-s", number, target, "-i", "127.0.0.1", "-p", str(free_port(30_000, 31_000))]
    command += ["-mp", str(free_port(31_002, 32_000, 16)), "-nostdin", "-timeout", "40"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_flood_of_invites_is_refused_and_the_call_goes_on(
    house: House, alice: Peer, bob: Peer, tmp_path: Path
) -> None:
    worker = house.server.part("worker")
    line = house.ring(alice, "400")
    line.wait("bridge.started")
    scenario = Path(__file__).with_name("invites.xml")
    done = _sipp(house, tmp_path, "999", "-sf", str(scenario), "-m", "2000", "-r", "200")
    assert done.returncode == 0, done.stdout[-3000:]
    assert house.server.part("worker") == worker
    alice.hear(BOB_HZ)
    bob.hear(ALICE_HZ)
    line.hang_up()


def test_a_sipp_caller_that_knows_nothing_of_us_completes_a_call(house: House, bob: Peer, tmp_path: Path) -> None:
    since = house.server.log.next
    done = _sipp(house, tmp_path, "100", "-sn", "uac", "-m", "1", "-d", "9000")
    assert done.returncode == 0, done.stdout[-3000:]
    log = house.server.log
    call = log.wait("call.received", since=since, caller="sipp").call
    assert log.wait("bridge.started", call=call)
    # It has no telephone-event and no INFO, so it could not have refused (promise 5).
    assert log.wait("recording.blocked", call=call).data["reason"] == "no_key_path"
    assert log.wait("call.ended", call=call).data["outcome"] == "completed"
