# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process has started ends with it, however it ends."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_HOLDER = """
import os, subprocess, sys, threading, time
from demo.leash import hold
hold()
hold()
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
NESTED = f"import subprocess; print(subprocess.Popen({SLEEP!r}, env={{}}, start_new_session=True).pid, flush=True)"
pids = []

def start(command, **more):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True, **more)
    pids.append(process.pid)
    return process

# One by a thread that has ended, one whose starter has ended, one that has lost the mark and whose starter lives.
thread = threading.Thread(target=start, args=(SLEEP,))
thread.start()
thread.join()
orphan = start([sys.executable, "-c", NESTED.replace("env={}, ", "")])
pids[-1] = int(orphan.stdout.readline())
orphan.wait()
child = start([sys.executable, "-c", NESTED + "; import time; time.sleep(600)"])
pids.append(int(child.stdout.readline()))
print(*pids, flush=True)
sys.stdin.readline()
os._exit(1)
"""


@contextmanager
def held(program: str = _HOLDER) -> Iterator[tuple["subprocess.Popen[str]", dict[int, int]]]:
    """A process that holds others, and handles of those."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        ExitStack() as stack,
        subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, text=True, **pipes) as holder,  # type: ignore[call-overload]
    ):
        stack.callback(holder.kill)
        handles = {pid: os.pidfd_open(pid) for pid in map(int, holder.stdout.readline().split())}
        for handle in handles.values():
            stack.callback(os.close, handle)
        yield holder, handles


def ended(handles: dict[int, int], within: float) -> set[int]:
    """Which of them have ended, as soon as all have or the time is over."""
    over = set()
    for pid, handle in handles.items():
        waiting = select.poll()
        waiting.register(handle, select.POLLIN)
        if waiting.poll(within * 1000):
            over.add(pid)
    return over


@pytest.mark.parametrize("how", ["SIGKILL", "os._exit"])
def test_nothing_is_left_of_a_process_that_ends_without_a_word(how: str) -> None:
    with held() as (holder, handles):
        assert len(handles) == 4
        assert ended(handles, 0) == set()
        if how == "SIGKILL":
            holder.kill()
        else:
            holder.stdin.write("\n")
            holder.stdin.flush()
        assert ended(handles, 20) == set(handles)


def test_what_tests_start_is_held() -> None:
    shown = subprocess.run(["env"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert any(line.startswith("ASSENT_LEASH=") for line in shown)


def test_a_process_that_holds_others_and_is_held_itself_leaves_nothing_either() -> None:
    """As the workers of pytest-xdist: their orphans bear their mark and not that of whoever started them."""
    outer = f"""
import os, subprocess, sys
from demo.leash import hold
hold()
read, write = os.pipe()
inner = subprocess.Popen([sys.executable, "-c", {_HOLDER!r}], stdin=read, pass_fds=[write])  # it sees no end of stdin
inner.wait()
"""
    with held(outer) as (holder, handles):
        assert len(handles) == 4
        holder.kill()
        assert ended(handles, 20) == set(handles)
