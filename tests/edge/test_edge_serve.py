# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr serve` in the folder of a front edge: the edge alone, without keys, log and flows; SIGHUP renews it."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from demo.server import IVR, free_port
from edge_kit import EdgeServer, Ua


def until(holds: Callable[[], object], what: Callable[[], str], within: float = 60) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


def parts(pid: int) -> list[str]:
    """What the children of a process are, by the command that became them."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [Path(f"/proc/{child}/comm").read_text().strip() for child in children]


def test_a_front_edge_is_served_alone(tmp_path: Path) -> None:
    node = {"name": "a", "address": "127.0.0.1", "port": free_port(27_000, 29_000), "calls": 3}
    front = EdgeServer(tmp_path, settings={"edge": {"nodes": [node]}, "pool": {"max": 1}})
    for folder in ("keys", "data", "flows", "cache"):
        shutil.rmtree(front.folder / folder)
    output = tmp_path / "out"

    def said() -> str:
        return output.read_text()

    with output.open("wb") as out:
        serve = subprocess.Popen(
            [str(IVR), "serve", "--config", str(front.folder)], stdout=out, stderr=out, start_new_session=True
        )
    try:
        until(lambda: "listening on" in said() or serve.poll() is not None, said)
        assert parts(serve.pid) == ["kamailio"], said()
        assert f"listening on sip:127.0.0.1:{front.port}" in said()
        with Ua(("127.0.0.1", 9), port=int(str(node["port"]))):
            run = front.wait_status(lambda status: status.places[0].state == "active").run
            with Ua(front.public) as caller:
                dialog, answer = caller.call("400")
                assert answer.status == 200
                serve.send_signal(signal.SIGHUP)
                until(lambda: "the edge has been started anew" in said(), said)
                assert front.wait_status(lambda status: status.run != run)
                assert caller.request(dialog, "BYE").status == 200
        assert parts(serve.pid) == ["kamailio"]
        assert sorted(path.name for path in front.folder.iterdir() if path.name in ("keys", "data", "cache")) == []
        serve.send_signal(signal.SIGTERM)
        assert serve.wait(60) == 0, said()
    finally:
        if serve.poll() is None:
            os.killpg(serve.pid, signal.SIGKILL)
            serve.wait()
