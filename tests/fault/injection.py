# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a victim under strace, with a fault at the n-th of one system call, and tells what it said before its end."""

import json
import os
import re
import select
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fault.workloads import ARMED

TESTS = Path(__file__).resolve().parent.parent
WITHIN_S = 60
WATCHED = ("write", "pwrite64", "fsync", "fdatasync", "rename", "unlink", "unlinkat", "ftruncate", "mkdir", "rmdir")
_CALL = re.compile(r"^(\d+) +(?:<\.\.\. )?(\w+)[( ]")
_HANDSHAKE = ("-e", f"inject=getpgid:retval={ARMED}")


class VictimStuck(AssertionError):
    """A victim neither ended nor died in time."""


@dataclass(frozen=True, slots=True)
class Point:
    """Where the fault strikes: the `n`-th `syscall` of a thread after `phase` began. `fault` is KILL or an errno."""

    workload: str
    phase: str
    syscall: str
    n: int
    fault: str

    def __str__(self) -> str:
        return f"{self.workload}/{self.phase}: {self.fault} at {self.syscall} {self.n}"

    @property
    def option(self) -> str:
        """For strace."""
        effect = "signal=KILL" if self.fault == "KILL" else f"error={self.fault}"
        return f"inject={self.syscall}:{effect}:when={self.n}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`status` is the victim's (-9: killed); `said` what it was promised, in order; `struck` whether the fault came."""

    status: int
    said: Sequence[dict[str, Any]]
    struck: bool


class Zygote:
    """The process that victims are forked from. A context manager; ended by its own id."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._address = str(folder / "line")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self._address)
        self._listener.listen(4)
        self._errors = (folder / "victims.err").open("w+")
        # Bytecode is not written: it would be calls of the victim's that come only once.
        environment = {**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent}", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "fault.zygote"]
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._errors}
        self._process = subprocess.Popen(command, text=True, env=environment, bufsize=1, **pipes)
        if self._answer() != "ready":
            raise VictimStuck(f"the zygote did not start: {self.errors()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._listener.close()
        self._errors.close()

    def errors(self) -> str:
        """What victims wrote to stderr."""
        self._errors.seek(0)
        return self._errors.read()[-4000:]

    def strike(self, point: Point, home: Path) -> Outcome:
        """One run with one fault."""
        trace = self._folder / "trace"
        options = ["-e", f"trace={point.syscall},getpgid", "-e", point.option]
        status, said = self._run(point.workload, home, point.phase, "", options, trace)
        text = trace.read_text(errors="replace")
        struck = status == -9 if point.fault == "KILL" else bool(re.search(rf"{point.syscall}.*INJECTED", text))
        return Outcome(status, said, struck)

    def count(self, workload: str, home: Path, phase: str, until: str) -> Counter[str]:
        """How often a thread makes each watched call between two phases: the most that any one thread does."""
        trace = self._folder / "trace"
        options = ["-e", f"trace={','.join(WATCHED)},getpgid"]
        status, _ = self._run(workload, home, phase, until, options, trace)
        if status != 0:
            raise VictimStuck(f"{workload} fails without any fault: {status}\n{self.errors()}")
        each: Counter[tuple[str, str]] = Counter()
        for line in trace.read_text(errors="replace").splitlines():
            found = _CALL.match(line)
            if found and "resumed>" not in line and found[2] in WATCHED:
                each[found[1], found[2]] += 1
        most: Counter[str] = Counter()
        for (_, syscall), number in each.items():
            most[syscall] = max(most[syscall], number)
        return most

    def record(self, workload: str, home: Path, phase: str, trace: Path) -> Outcome:
        """A run without faults, with every file operation and its data in `trace` (see fault.trace)."""
        names = f"{','.join(WATCHED)},openat,sendto,sendfile,copy_file_range,renameat,renameat2,pwritev,writev,getpgid"
        options = ["-y", "-xx", "-s", "4000000", "-e", f"trace={names}"]
        status, said = self._run(workload, home, phase, "", options, trace)
        return Outcome(status, said, True)

    def _run(
        self, workload: str, home: Path, phase: str, until: str, options: Sequence[str], trace: Path
    ) -> tuple[int, list[dict[str, Any]]]:
        pid = self._fork(
            {"workload": workload, "home": str(home), "line": self._address, "phase": phase, "until": until}
        )
        self._listener.settimeout(WITHIN_S)
        line = _Line(self._listener.accept()[0])
        try:
            line.wait(lambda said: said.get("at") == phase)
            command = ["strace", "-f", "-qq", "-o", str(trace), *_HANDSHAKE, *options, "-p", str(pid)]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self._errors) as strace:
                said = line.rest()
                status = int(self._answer())
                strace.wait(WITHIN_S)
        finally:
            line.close()
        return status, said

    def _fork(self, job: dict[str, str]) -> int:
        if self._process.stdin is None:
            raise VictimStuck("the zygote is gone")
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return int(self._answer())

    def _answer(self) -> str:
        if self._process.stdout is None:
            raise VictimStuck("the zygote is gone")
        ready = select.poll()  # select() refuses descriptors above 1023, which a long test run may have
        ready.register(self._process.stdout, select.POLLIN)
        if not ready.poll(WITHIN_S * 1000):
            self._process.kill()
            raise VictimStuck(f"a victim did not end within {WITHIN_S} s: {self.errors()}")
        return str(self._process.stdout.readline()).strip()


class _Line:
    """Our end of a victim's line."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._connection.settimeout(WITHIN_S)
        self._buffer = b""
        self._said: list[dict[str, Any]] = []

    def wait(self, wanted: Any) -> None:
        deadline = time.monotonic() + WITHIN_S
        while not any(map(wanted, self._said)):
            if time.monotonic() > deadline or not self._more():
                raise VictimStuck(f"a victim ended early; it said {self._said}")

    def rest(self) -> list[dict[str, Any]]:
        """Everything, once the victim is gone."""
        while self._more():
            pass
        return self._said

    def close(self) -> None:
        self._connection.close()

    def _more(self) -> bool:
        try:
            data = self._connection.recv(65536)
        except ConnectionResetError:
            return False
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        self._said += map(json.loads, lines)
        return bool(data)
