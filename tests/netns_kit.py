# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines on a network that only the test has: a network namespace each, on a bridge in one of its own.

No namespace has a name and no interface is outside: all of it is held by processes that end when the pipe to this one
closes, so nothing is left, not even by a test run that is killed, and runs beside each other do not meet. Needs root,
or user namespaces that anybody may make.
"""

import os
import select
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_ROOT = os.geteuid() == 0
_HOLD = "ip link set lo up && echo up && read _"
PREFIX = "10.93.7."


class NoNamespaces(AssertionError):
    """This machine does not let the test have a network of its own."""


@dataclass
class Machine:
    """A namespace with an address. What runs here ends with `lose`, all of it and at once, as by a power cut."""

    name: str
    address: str
    enter: Sequence[str]
    hub: Sequence[str]
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, command: Sequence[str], output: Path, env: Mapping[str, str] | None = None) -> int:
        """Start a command as the first process of a PID namespace; the id of the process that holds it."""
        # Not as root of a user namespace, whose other users nobody could become.
        user = [] if _ROOT else ["--user", "--map-user=1000"]
        # Mounts stay as they are shared: in a chroot there is no mount at / whose sharing could be changed, and /proc
        # is made private before the new one comes over it.
        alone = ["setpriv", "--pdeathsig=KILL", "unshare", *user, "--pid", "--fork", "--kill-child"]
        alone += ["--propagation", "unchanged", "--mount-proc"]
        with output.open("ab") as out:
            process = subprocess.Popen(
                [*self.enter, *alone, *command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
            )
        self.running.append(process)
        return process.pid

    def run(self, *command: str, within: float = 30) -> "subprocess.CompletedProcess[str]":
        """Run a command here to its end."""
        return subprocess.run([*self.enter, *command], capture_output=True, text=True, timeout=within)

    def terminate(self, within: float = 60) -> None:
        """SIGTERM to what was started, and wait for its end."""
        for process in self.running:
            for child in children(process.pid):
                os.kill(child, signal.SIGTERM)
        for process in self.running:
            process.wait(within)
        self.running.clear()

    def lose(self) -> None:
        """SIGKILL to every process here: with the first process of a PID namespace all others die."""
        for process in self.running:
            # A handle on each: such a first process is gone only when all others of its namespace are.
            firsts = [os.pidfd_open(child) for child in children(process.pid)]
            for first in firsts:
                signal.pidfd_send_signal(first, signal.SIGKILL)
            process.kill()
            process.wait()
            for first in firsts:
                assert select.select([first], [], [], 30)[0], "a killed machine's processes are still there"
                os.close(first)
        self.running.clear()

    def cable(self, *, plugged: bool) -> None:
        """Pull the cable, or put it back."""
        _run([*self.hub, "ip", "link", "set", f"v-{self.name}", "up" if plugged else "down"])


def children(pid: int) -> list[int]:
    """Of a process, as the kernel lists them (proc(5))."""
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


@contextmanager
def network(*names: str) -> Iterator[dict[str, Machine]]:
    """Machines by name, each with an address, on one bridge. All is gone afterwards."""
    with ExitStack() as stack:
        first = [] if _ROOT else ["--user", "--map-root-user"]
        hub_pid = stack.enter_context(_held(["unshare", *first, "--net"]))
        into = [] if _ROOT else ["-U", "--preserve-credentials"]
        hub = ["nsenter", "-t", str(hub_pid), *into, "-n"]
        _run([*hub, "ip", "link", "add", "bridge", "type", "bridge"])
        _run([*hub, "ip", "link", "set", "bridge", "up"])
        machines = {}
        for number, name in enumerate(names, 11):
            pid = stack.enter_context(_held([*hub, "unshare", "--net"]))
            machine = Machine(name, f"{PREFIX}{number}", ["nsenter", "-t", str(pid), *into, "-n"], hub)
            port = f"v-{name}"
            _run([*hub, "ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(pid)])
            _run([*hub, "ip", "link", "set", port, "master", "bridge", "up"])
            _run([*machine.enter, "ip", "addr", "add", f"{machine.address}/24", "dev", "eth0"])
            _run([*machine.enter, "ip", "link", "set", "eth0", "up"])
            stack.callback(machine.lose)
            machines[name] = machine
        yield machines


@contextmanager
def _held(command: Sequence[str]) -> Iterator[int]:
    """A process that holds a namespace open until the pipe to it closes."""
    process: subprocess.Popen[bytes] = subprocess.Popen(
        [*command, "sh", "-c", _HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    pipes: Any = (process.stdin, process.stdout, process.stderr)
    try:
        if process.stdout is None or process.stdout.readline() != b"up\n":
            said = process.stderr.read().decode() if process.stderr else ""
            raise NoNamespaces(
                f"{' '.join(command)}: {said.strip()}: this test needs root, or user namespaces for everybody"
            )
        yield process.pid
    finally:
        for pipe in pipes:
            pipe.close()
        process.wait(10)


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    if done.returncode:
        raise NoNamespaces(f"{' '.join(command)}: {done.stderr.strip()}")
