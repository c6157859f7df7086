# SPDX-License-Identifier: GPL-3.0-or-later
"""The pool's control socket: whoever may open it may end calls, so nobody but its user may."""

import asyncio
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, cast

from ivr.node.pool.control import ControlServer, ask
from ivr.node.pool.manager import Manager


class _Orders:
    def drain(self, what: str, by: str) -> list[str]:
        return [what, by]


class _Manager:
    orders = _Orders()

    def status(self) -> dict[str, Any]:
        return {"state": "ready"}


BECOME = """
import os, socket, sys
os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(60_007)
try:
    socket.socket(socket.AF_UNIX).connect(sys.argv[1])
except PermissionError:
    print("refused")
"""


def test_the_control_socket_is_its_users_alone() -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="assent-") as folder:
            Path(folder).chmod(0o755)
            path = Path(folder) / "control.sock"
            server = ControlServer(cast(Manager, _Manager()), path)
            await server.start()
            try:
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
                answer = await asyncio.to_thread(ask, path, {"op": "status"})
                assert answer["status"] == {"state": "ready"}
                drained = await asyncio.to_thread(ask, path, {"op": "drain", "what": "w3"})
                assert drained["workers"] == ["w3", f"uid {os.geteuid()} (pid {os.getpid()})"]  # who, for the log
                if os.geteuid() == 0:  # the kernel's own word on it, for a user of the same group
                    words = [sys.executable, "-c", BECOME, str(path), str(os.getegid())]
                    said = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, timeout=60)
                    assert (said.stdout, said.stderr) == ("refused\n", "")
            finally:
                await server.stop()

    asyncio.run(run())
