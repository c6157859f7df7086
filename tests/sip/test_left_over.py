# SPDX-License-Identifier: GPL-3.0-or-later
"""A test process that is killed with kill -9 leaves no server and no telephone behind."""

import os
import select
import subprocess
import sys
from pathlib import Path

from demo.server import Server
from sip.harness import Notices, consent, flow

_ROOT = Path(__file__).parents[2]
_TEST = """
import sys, time
from pathlib import Path
from demo.driver import Peer
from demo.server import Server
server = Server(Path(sys.argv[1]))
server.port = int(sys.argv[2])
server.start()
phone = Peer("alice")
phone.port
print(*server.family(), phone.pid, flush=True)
time.sleep(600)
"""


def test_a_killed_test_leaves_nothing_behind(tmp_path: Path, notices: Notices) -> None:
    server = Server(tmp_path / "server")
    server.create({"optout": flow("100", consent(notices, "opt_out"), "sip:nobody@127.0.0.1:9")})
    command = [sys.executable, "-c", _TEST, str(server.folder), str(server.port)]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as test:
        try:
            assert test.stdout is not None
            handles = [os.pidfd_open(int(pid)) for pid in test.stdout.readline().split()]
        finally:
            test.kill()
    # `ivr serve`, ledger, pool, nursery, a worker, and the telephone.
    assert len(handles) >= 6
    for handle in handles:
        waiting = select.poll()
        waiting.register(handle, select.POLLIN)
        assert waiting.poll(20_000)
        os.close(handle)
