# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs one kind of call again and again in both lanes of a server, and gathers what each measured."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import SystemRandom

from bench.phone import Agent
from bench.served import address, number
from bench.wire import Address
from demo.logtail import LogTail
from demo.server import Server

random = SystemRandom()


@dataclass(frozen=True, slots=True)
class Lane:
    """Where a lane's calls go, and who answers them."""

    server: Address
    number: str
    agent: Agent
    log: LogTail

    def recording(self, sip_call_id: str) -> tuple[str, str]:
        """Call and recording, once samples are kept."""
        received = self.log.wait("call.received", within=5, sip_call_id=sip_call_id)
        started = self.log.wait("recording.started", within=10, call=received.call)
        return str(received.call), str(started.data["recording"])

    def settle(self, sip_call_id: str) -> None:
        """Waits until the call's last event is in the log: only then is its place in the worker free."""
        received = self.log.wait("call.received", within=5, sip_call_id=sip_call_id)
        self.log.wait("call.ended", within=10, call=received.call)


Measured = Mapping[str, float]


def gather(server: Server, agents: list[Agent], once: Callable[[Lane], Measured], count: int, seconds: float) -> "Runs":
    """`count` calls in all, fewer when `seconds` are over. A call that fails is counted, and the first is told."""
    runs = Runs()
    deadline = time.monotonic() + seconds
    left = iter(range(count))
    lock = threading.Lock()

    def drive(lane: Lane) -> None:
        # Half a call apart, so that the lanes do not march in step.
        time.sleep(random.uniform(0, 0.5))
        while time.monotonic() < deadline:
            with lock:
                if next(left, None) is None:
                    return
            try:
                measured = once(lane)
            except AssertionError as error:
                with lock:
                    runs.failures.append(str(error))
            else:
                with lock:
                    runs.measured.append(measured)

    database = server.folder / "data" / "log.sqlite"
    lanes = [Lane(address(server), number(place), agent, LogTail(database)) for place, agent in enumerate(agents)]
    threads = [threading.Thread(target=drive, args=(lane,), daemon=True) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return runs


class Runs:
    """What the calls measured, and how many failed."""

    def __init__(self) -> None:
        self.measured: list[Measured] = []
        self.failures: list[str] = []

    def of(self, name: str) -> list[float]:
        """One measure of every call that has it."""
        return [measured[name] for measured in self.measured if name in measured]

    @property
    def note(self) -> str:
        """What went wrong, for the table; empty when nothing did."""
        if not self.failures:
            return ""
        return f"{len(self.failures)} calls failed: {self.failures[0].splitlines()[0]}"
