# SPDX-License-Identifier: GPL-3.0-or-later
"""A real server in a folder of its own: `ivr init`, free ports, `ivr serve`, and its end by signal."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from types import TracebackType
from typing import Any, Self

import yaml

from demo.leash import hold
from demo.logtail import LogTail

IVR = Path(sys.executable).with_name("ivr")
_random = SystemRandom()


class ServerFailed(AssertionError):
    """The server did not do what it was told; the message holds what it wrote."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A finished command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its stdout as JSON."""
        return json.loads(self.out)


def ivr(*arguments: object, within: float = 60) -> Ran:
    """Runs one `ivr` command to its end."""
    done = subprocess.run(
        [str(IVR), *map(str, arguments)], capture_output=True, text=True, timeout=within, env=_environment()
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def _environment() -> dict[str, str]:
    return {**os.environ, "COLUMNS": "140", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}


def free_port(first: int, last: int, count: int = 1) -> int:
    """An even port from which on `count` are free, UDP and TCP, on 127.0.0.1."""
    for _ in range(200):
        port = 2 * _random.randrange(first // 2, last // 2)
        if all(_is_free(number) for number in range(port, port + count)):
            return port
    raise ServerFailed(f"no {count} free ports from {first} to {last}")


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with closing(socket.socket(socket.AF_INET, kind)) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def answers_sip(port: int, within: float = 0.5) -> bool:
    """Whether something on 127.0.0.1 answers an OPTIONS (RFC 3261 section 11)."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.bind(("127.0.0.1", 0))
        probe.settimeout(within)
        here = f"127.0.0.1:{probe.getsockname()[1]}"
        token = f"{_random.getrandbits(64):x}"
        lines = [
            f"OPTIONS sip:ping@127.0.0.1:{port} SIP/2.0",
            f"Via: SIP/2.0/UDP {here};rport;branch=z9hG4bK{token}",
            f"From: <sip:ping@{here}>;tag={token}",
            f"To: <sip:ping@127.0.0.1:{port}>",
            f"Call-ID: {token}",
            "CSeq: 1 OPTIONS",
            "Max-Forwards: 1",
            "Content-Length: 0",
        ]
        try:
            probe.sendto("\r\n".join([*lines, "", ""]).encode(), ("127.0.0.1", port))
            return probe.recv(4096).startswith(b"SIP/2.0")
        except OSError:
            return False


class Server:
    """`create`, `start`, ring it, `stop`. Everything it writes to the terminal is kept in `output`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.log = LogTail(folder / "data" / "log.sqlite")
        self._output = folder.parent / f"{folder.name}.out"
        self._process: subprocess.Popen[bytes] | None = None
        self._family: set[int] = set()

    def create(self, flows: Mapping[str, object], settings: Mapping[str, Mapping[str, object]] | None = None) -> None:
        """`ivr init`, then these flows in place of the shipped ones, free ports, and other settings where given."""
        made = ivr("init", self.folder)
        if made.status:
            raise ServerFailed(f"ivr init: {made.out}{made.err}")
        for shipped in (self.folder / "flows").glob("*.yaml"):
            shipped.unlink()
        (self.folder / "flows" / "flows.yaml").write_text(yaml.safe_dump({"flows": dict(flows)}, sort_keys=False))
        self.port = free_port(6000, 9998)
        chosen: dict[str, dict[str, object]] = {
            "sip": {"port": self.port},
            "media": {"port": free_port(10_000, 19_800, 16), "port_range": 100},
            "limits": {"drain_timeout": "5s"},
            "metrics": {"port": 0},
        }
        for group, values in (settings or {}).items():
            chosen.setdefault(group, {}).update(values)
        file = self.folder / "server.yaml"
        merged = yaml.safe_load(file.read_text()) or {}
        for group, values in chosen.items():
            merged[group] = {**(merged.get(group) or {}), **values}
        file.write_text(yaml.safe_dump(merged, sort_keys=False))

    def start(self, within: float = 90) -> Self:
        """`ivr serve`; returns when the worker has joined the log and answers SIP. It ends with this process."""
        hold()
        joined = len([e for e in self.log.poll() or self.log.events if e.type == "worker.joined"])
        with self._output.open("ab") as out:
            self._process = subprocess.Popen(
                [str(IVR), "serve", "--config", str(self.folder)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=_environment(),
                start_new_session=True,
            )
        deadline = time.monotonic() + within
        while True:
            self.log.poll()
            now = len([e for e in self.log.events if e.type == "worker.joined"])
            if now > joined and answers_sip(self.port):
                self.family()
                return self
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ServerFailed(f"ivr serve is not up within {within:g} s:\n{self.output}")
            time.sleep(0.05)

    @property
    def output(self) -> str:
        """What it wrote to stdout and stderr."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    def wrote(self, text: str, *, since: int = 0, within: float = 20) -> None:
        """Waits until it has written this, after the first `since` characters of `output`."""
        deadline = time.monotonic() + within
        while text not in self.output[since:]:
            if time.monotonic() > deadline:
                raise ServerFailed(f"it did not write {text!r} within {within:g} s:\n{self.output[since:]}")
            time.sleep(0.05)

    def uri(self, user: str) -> str:
        """Where a number of this server is rung."""
        return f"sip:{user}@127.0.0.1:{self.port}"

    # -- processes -----------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The process of `ivr serve`."""
        if self._process is None:
            raise ServerFailed("the server was not started")
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether `ivr serve` was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def family(self) -> set[int]:
        """`ivr serve` and its descendants that are alive; remembered, so that leaks are seen after its end."""
        parents = {pid: parent for pid, parent in _parents() if parent}
        found = {self.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        self._family |= found
        return {pid for pid in found if _alive(pid)}

    def part(self, role: str) -> int:
        """The process id of `ledger` or `worker`, by its command line."""
        for pid in self.family() - {self.pid}:
            # A forked worker has its name in one piece: `ivr worker w0 --config …`.
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ").split()
            if role in words:
                return pid
        raise ServerFailed(f"no {role} process among {self.family()}")

    def leaked(self) -> set[int]:
        """Processes of this server that outlived it."""
        return {pid for pid in self._family if _alive(pid)}

    def stop(self, within: float = 30) -> int:
        """SIGTERM; its exit status. ServerFailed when it does not end, or leaves a process behind."""
        if self._process is None:
            return 0
        self.family()
        self._process.send_signal(signal.SIGTERM)
        return self.ended(within)

    def ended(self, within: float = 30) -> int:
        """Waits for its end; its exit status."""
        if self._process is None:
            return 0
        try:
            status = self._process.wait(timeout=within)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailed(f"it did not stop within {within:g} s of SIGTERM:\n{self.output}") from None
        deadline = time.monotonic() + 3
        while self.leaked() and time.monotonic() < deadline:
            time.sleep(0.02)
        if left := self.leaked():
            self.kill()
            raise ServerFailed(f"processes {sorted(left)} outlived it:\n{self.output}")
        self._process = None
        return status

    def kill(self) -> None:
        """kill -9 of everything, at once."""
        for pid in self.family() | self.leaked() if self._process is not None else self.leaked():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if self._process is not None:
            self._process.wait()
        self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process is not None:
            self.kill() if kind is not None else self.stop()

    # -- afterwards ----------------------------------------------------------------------------------------------

    def ivr(self, *arguments: object, within: float = 60) -> Ran:
        """A command on this server's folder."""
        return ivr(*arguments, "--config", self.folder, within=within)


def _parents() -> Sequence[tuple[int, int]]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            found.append((int(entry.name), int(fields[1])))
    return found


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
