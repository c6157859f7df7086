# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process starts ends with it, however it ends: by kill -9, or by os._exit as pytest's time-out does it.

`hold()` marks this process's environment, which everything that it starts inherits, and starts a reaper that waits for
this process's end. Whatever bears the mark then, and its descendants, is killed. PR_SET_PDEATHSIG would not do: it
fires when the thread that started a process ends. This file runs by itself, with the standard library alone.
"""

import os
import select
import signal
import sys
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from random import SystemRandom

MARK = "ASSENT_LEASH"
GIVES_UP_S = 20.0
"""A process that the kernel does not let die is left to it."""

_holder = 0


def hold() -> None:
    """From here on; once a process. Call it before anything is started that is to end with this one."""
    global _holder
    if _holder == os.getpid():
        return
    _holder = os.getpid()
    others = {name: value for name, value in os.environ.items() if name != MARK}
    os.environ[MARK] = f"{SystemRandom().getrandbits(128):032x}"
    nowhere = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
    # Not subprocess: it would warn of a process that is never waited for. A session of its own: no Ctrl-C reaches it.
    command = [sys.executable, "-I", "-S", __file__, str(_holder), os.environ[MARK]]
    os.posix_spawn(sys.executable, command, others, file_actions=nowhere, setsid=True)


def marked(mark: str) -> list[int]:
    """The processes with this mark, and under each its descendants, which may have lost it; parents come first."""
    entry = f"{MARK}={mark}".encode()
    children: dict[int, list[int]] = defaultdict(list)
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        # A process may end while it is looked at, and those of other users are not ours.
        with suppress(OSError, ValueError):
            pid = int(folder.name)
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            # Reapers see to their own end, also those of processes that are to be killed here.
            if state == "Z" or __file__.encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                continue
            children[int(parent)].append(pid)
            if entry in (folder / "environ").read_bytes().split(b"\0"):
                found.append(pid)
    seen = dict.fromkeys(found)
    for pid in found:
        for child in children[pid]:
            if child not in seen:
                seen[child] = None
                found.append(child)
    return found


def reap(holder: int, mark: str) -> None:
    """Waits for the end of `holder` and kills what it left."""
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(holder)
        if os.getppid() == holder:  # otherwise it has ended, and the number may be another's
            waiting = select.poll()
            waiting.register(handle, select.POLLIN)
            waiting.poll()
    deadline = time.monotonic() + GIVES_UP_S
    while (left := marked(mark)) and time.monotonic() < deadline:
        for pid in left:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


if __name__ == "__main__":
    reap(int(sys.argv[1]), sys.argv[2])
