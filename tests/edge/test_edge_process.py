# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge as a process: whose it is, what it writes, and that nobody's edge is left behind."""

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import threading
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
    edge.wait_log("event=end")
    lines = [json.loads(line) for line in edge.log.splitlines()]  # every one, from the first
    assert {tuple(line)[:5] for line in lines} == {("time", "level", "process", "logger", "message")}
    assert {line["process"] for line in lines} == {"edge"}
    assert {line["level"] for line in lines} <= {"info", "warning"}, lines
    (call,) = [line for line in lines if line["message"].startswith("event=call ")]
    assert f"id={call['edge']} " in call["message"]


def scribe(edge: EdgeServer) -> int:
    """The process that reads what Kamailio writes."""
    assert edge.process is not None
    pipe = os.readlink(f"/proc/{edge.process.pid}/fd/2")
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(folder / "fd/0") == pipe and b"ivr.node.edge.scribe" in (folder / "cmdline").read_bytes():
                return int(folder.name)
        except OSError:
            continue
    raise AssertionError(f"nobody reads {pipe}")


def test_it_serves_while_nobody_takes_its_lines_and_they_come_later(tmp_path: Path) -> None:
    trunk = {"name": "here", "sources": ["127.0.0.1"], "rate": 10_000}
    server = EdgeServer(tmp_path, settings={"edge": {"trunks": [trunk]}})
    log = tmp_path / "edge.log"
    os.mkfifo(log)
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    calls = 350  # 700 lines: more than Kamailio's pipe, what its reader takes at once, and this pipe hold
    with server, server.worker(0) as worker, Ua(server.public) as caller:
        server.enable("w0")
        for _ in range(calls):
            dialog, answer = caller.call("400")
            assert answer.status == 200
            assert caller.request(dialog, "BYE").status == 200
            for ua in (caller, worker):
                ua.seen.clear()
        got: list[bytes] = []
        threading.Thread(target=lambda: got.extend(iter(lambda: some(reader), b"")), daemon=True).start()
        wait(lambda: b"".join(got).count(b"event=end ") == calls)
    assert b"".join(got).count(b"event=call ") == calls
    assert b"are missing" not in b"".join(got)


def some(reader: int) -> bytes:
    """What there is to read; nothing at the end."""
    select.select([reader], [], [])
    return os.read(reader, 65_536)


def test_it_serves_without_whoever_wrote_its_lines(tmp_path: Path) -> None:
    with EdgeServer(tmp_path) as server, server.worker(0), Ua(server.public) as caller:
        server.enable("w0")
        writes = scribe(server)
        os.kill(writes, signal.SIGKILL)
        wait(lambda: not alive(writes))
        for _ in range(3):
            dialog, answer = caller.call("400")
            assert answer.status == 200
            assert caller.request(dialog, "BYE").status == 200
        assert server.process is not None
        assert server.process.poll() is None


def test_the_last_lines_are_written_and_nobody_is_left_behind(tmp_path: Path) -> None:
    with EdgeServer(tmp_path) as server:
        writes = scribe(server)
        os.kill(writes, signal.SIGTERM)  # systemd ends a whole group
        with server.worker(0), Ua(server.public) as caller:
            server.enable("w0")
            dialog, _ = caller.call("400")
            caller.request(dialog, "BYE")
    wait(lambda: not alive(writes))
    assert "event=end" in server.log


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
        told = Path(f"/proc/{scribe(edge)}/status").read_text()
        writes = dict(line.split(":\t", 1) for line in told.splitlines() if ":\t" in line)
        assert writes["Uid"] == status["Uid"]
        assert (int(writes["CapEff"], 16), writes["NoNewPrivs"], writes["Groups"].strip()) == (0, "1", "")


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
