# SPDX-License-Identifier: GPL-3.0-or-later
"""One process of the node, as a real one: signals end it, it says ready, stopping and alive, its errors get out."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, sys
from ivr.node.process import run_process
async def main(stop, on_ready):
    on_ready()
    {body}
run_process(main)
print("ended in order")
"""


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(20)
        sock.bind(str(tmp_path / "notify"))
        yield sock


def start(body: str, listener: socket.socket, **env: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body)],
        env={**os.environ, "NOTIFY_SOCKET": listener.getsockname(), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(listener: socket.socket, state: bytes) -> None:
    """Waits until the process has said this; the socket's time-out is the deadline."""
    while listener.recv(100) != state:
        pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_in_order(number: signal.Signals, listener: socket.socket) -> None:
    process = start("await stop.wait()", listener)
    said(listener, b"READY=1")
    process.send_signal(number)
    said(listener, b"STOPPING=1")
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "ended in order\n", "")


RENEWED = """
import asyncio
from ivr.node.process import run_process
async def main(stop, on_ready):
    on_ready()
    await stop.wait()
run_process(main, on_hangup=lambda: print("renewed", flush=True))
print("ended in order")
"""


@pytest.mark.parametrize("under", [["nohup"], ["setsid"]])
def test_a_hangup_that_nohup_has_ignored_stays_so_and_a_line_says_it(under: list[str], listener: socket.socket) -> None:
    process = subprocess.Popen(
        [*under, sys.executable, "-c", RENEWED],
        env={**os.environ, "NOTIFY_SOCKET": listener.getsockname()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    said(listener, b"READY=1")
    process.send_signal(signal.SIGHUP)
    if under == ["setsid"]:
        assert process.stdout is not None
        assert process.stdout.readline() == "renewed\n"
    process.terminate()
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "ended in order\n")
    assert ("SIGHUP does nothing here" in err) is (under == ["nohup"])


def test_it_leaves_no_core_file(listener: socket.socket) -> None:
    """Samples that are not sealed yet are in its memory."""
    process = start("import resource; print(resource.getrlimit(resource.RLIMIT_CORE))", listener)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "(0, 0)\nended in order\n", "")


def test_it_serves_the_watchdog_from_its_loop(listener: socket.socket) -> None:
    process = start("await stop.wait()", listener, WATCHDOG_USEC="40000")
    said(listener, b"READY=1")
    for _ in range(3):
        said(listener, b"WATCHDOG=1")
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_what_it_raises_is_raised(listener: socket.socket) -> None:
    process = start("raise OSError('of this kind')", listener)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "OSError: of this kind" in err
    said(listener, b"STOPPING=1")


def test_a_supervised_process_dies_with_its_supervisor(listener: socket.socket) -> None:
    """The one in between starts it and is killed; nobody tells it anything but the kernel."""
    child = PROGRAM.format(body="await stop.wait()")
    between = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(600)"
    env = {**os.environ, "NOTIFY_SOCKET": listener.getsockname(), "ASSENT_SUPERVISED": "1"}
    supervisor = subprocess.Popen([sys.executable, "-c", between], env=env, stdout=subprocess.DEVNULL)
    said(listener, b"READY=1")
    supervisor.kill()
    supervisor.wait(timeout=20)
    said(listener, b"STOPPING=1")


_LOOK_UP = """
import socket, sys
from ivr.node.process import look_up_no_names
if sys.argv[1] == "without":
    look_up_no_names()
socket.getaddrinfo("127.0.0.1", 5060)
socket.getaddrinfo("localhost", 5060)
try:
    socket.getaddrinfo("media.example.net", 5060)
except OSError:
    pass
"""


@pytest.mark.parametrize(("how", "asked"), [("with", True), ("without", False)])
def test_a_name_that_a_caller_chose_is_not_looked_up(how: str, asked: bool, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    command = [
        "strace",
        "-f",
        "-e",
        "trace=connect,sendto,sendmmsg",
        "-o",
        str(trace),
        sys.executable,
        "-c",
        _LOOK_UP,
        how,
    ]
    subprocess.run(command, check=True, timeout=60, env={**os.environ, "RES_OPTIONS": "attempts:1 timeout:1"})
    assert ("htons(53)" in trace.read_text()) is asked
