# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge as a process: whose it is, what it writes, and that nobody's edge is left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.server import IVR
from edge_kit import EdgeServer, Ua


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeServer]:
    with EdgeServer(tmp_path_factory.mktemp("edge"), settings={"log": {"format": "json"}}) as edge:
        yield edge


def test_its_lines_are_json_for_a_collector(edge: EdgeServer) -> None:
    with edge.worker(0) as worker, Ua(edge.public) as caller:
        edge.enable("w0")
        dialog, _ = caller.call("400")
        caller.request(dialog, "BYE")
        worker.wait_request("BYE", dialog.call)
    lines = [json.loads(line) for line in edge.log.splitlines() if line.startswith("{")]
    assert any(line["message"].startswith("event=call id=") for line in lines)
    assert {line["level"] for line in lines} <= {"NOTICE", "WARNING"}, lines


if os.geteuid() == 0:  # others have no user to give up

    def test_root_gives_up_its_rights_for_good(edge: EdgeServer) -> None:
        assert edge.process is not None
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{edge.process.pid}/status").read_text().splitlines()
            if ":\t" in line
        )
        assert "0" not in status["Uid"].split()
        assert "0" not in status["Gid"].split()
        assert int(status["CapEff"], 16) == 0
        assert status["NoNewPrivs"] == "1"
        assert "0 " not in f"{status['Groups']} "[:2]


def test_status_for_people_and_for_programs(edge: EdgeServer) -> None:
    shown = edge.ivr("edge", "status")
    assert shown.status == 0
    assert "w0" in shown.out
    data = edge.ivr("edge", "status", "--json").json
    assert [worker["name"] for worker in data["workers"]] == ["w0", "w1"]
    assert data["counters"]["full"] == 0
    assert data["run"].startswith("run-")


def test_a_check_is_told_by_the_exit_code_whether_calls_are_taken(edge: EdgeServer) -> None:
    with edge.worker(0):
        edge.enable("w0")
        taken = edge.ivr("edge", "status", "--quiet")
        assert (taken.status, taken.out, taken.err) == (0, "", "")
        edge.tell(lambda control: control.drain("w0"))
        none = edge.ivr("edge", "status", "--quiet")
        assert (none.status, none.out) == (1, "")
        assert "no worker or node takes calls" in none.err
        assert edge.ivr("edge", "status").status == 0
        edge.enable("w0")


def test_no_edge_is_said_plainly(tmp_path: Path) -> None:
    server = EdgeServer(tmp_path)
    shown = server.ivr("edge", "status")
    assert shown.status == 2
    assert "is `ivr edge run` running?" in shown.err
    assert server.ivr("edge", "status", "--quiet").status == 2
    gauges = server.ivr("edge", "status", "--prometheus")
    assert (gauges.status, "\nassent_edge_up 0.0\n" in gauges.out) == (0, True)
    assert server.ivr("edge", "status", "--prometheus", "--quiet").status == 2


def test_an_edge_does_not_outlive_whoever_supervises_it(tmp_path: Path) -> None:
    server = EdgeServer(tmp_path)
    program = "import subprocess, sys; p = subprocess.Popen(sys.argv[1:]); print(p.pid, flush=True); p.wait()"
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(IVR), "edge", "run", "--config", str(server.folder)],
        env={**os.environ, "ASSENT_SUPERVISED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert parent.stdout is not None
    with parent.stdout:
        edge = int(parent.stdout.readline())
    try:
        wait(lambda: (server.folder / "run/edge/rpc.sock").exists())
        parent.kill()
        parent.wait()
        wait(lambda: not alive(edge))
    finally:
        parent.kill()
        parent.wait()
        if alive(edge):
            os.kill(edge, signal.SIGTERM)


def wait(holds, within: float = 40) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
