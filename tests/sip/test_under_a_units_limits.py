# SPDX-License-Identifier: GPL-3.0-or-later
"""A call under what `ivr-pool.service` forbids: system calls, and memory that is both written and run as code."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.driver import Peer
from sip.conftest import judged_by_ivr, open_server
from sip.harness import ALICE_HZ, BOB_HZ, House, Notices, both_hear, consent, flow

pytestmark = pytest.mark.timeout(300)  # a whole node starts for the first test

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, notices: Notices) -> Iterator[House]:
    """All of `ivr serve`, as the pool's unit would have its workers. The phones are outside."""
    folder = tmp_path_factory.mktemp("confined")
    wrapper = folder / "ivr"
    line = [sys.executable, ROOT / "tests/confine.py", ROOT / "systemd/ivr-pool.service", sys.executable]
    line.append(Path(sys.executable).with_name("ivr"))
    wrapper.write_text("#!/bin/sh\nexec " + " ".join(f"'{word}'" for word in line) + ' "$@"\n')
    wrapper.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch, Peer("alice", tone=ALICE_HZ) as alice, Peer("bob", tone=BOB_HZ) as bob:
        patch.setattr("demo.server.IVR", wrapper)
        house = House(open_server(folder / "server", {"bob": flow("100", consent(notices, "opt_out"), bob.uri)}, {}))
        house.add(alice)
        house.add(bob)
        bob.incoming("answer", after_ms=100)
        with house.server:
            yield house
        judged_by_ivr(house.server)


def test_a_call_is_recorded(place: House) -> None:
    place.begin()
    line = place.ring(place.peers["alice"], "100")
    line.wait("recording.started")
    both_hear(line, place.peers["bob"])
    line.hang_up()
    place.end()
    assert "Traceback" not in place.server.output
