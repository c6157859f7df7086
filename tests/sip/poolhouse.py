# SPDX-License-Identifier: GPL-3.0-or-later
"""A server with a pool of workers behind its edge, and what its manager says of them."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demo.server import Server, ServerFailed, free_port
from ivr.node.pool.control import ControlError, ask

Status = dict[str, Any]


def pool_settings(workers: int, **pool: object) -> dict[str, dict[str, object]]:
    """Settings of a server with so many workers at most, on free ports."""
    return {
        "media": {"port": free_port(24_000, 29_000, 16 * workers), "port_range": 16 * workers},
        "pool": {"max": workers, "sip_port": free_port(12_000, 14_900, workers), **pool},
        "edge": {"inside": {"port": free_port(20_000, 23_900)}},
        "metrics": {"port": free_port(9_400, 9_998)},
        "limits": {"drain_timeout": "60s"},  # longer than a new manager takes to load
    }


def _socket(server: Server) -> Path:
    return server.folder / "run/pool/control.sock"


def status(server: Server) -> Status:
    """What the manager knows. Raises ControlError."""
    return dict(ask(_socket(server), {"op": "status"})["status"])


def until(server: Server, condition: Callable[[Status], object], what: str, within: float = 40) -> Status:
    """Waits for a status that is so, whichever manager says it; the one that is."""
    deadline = time.monotonic() + within
    last: object = None
    while True:
        try:
            found = status(server)
            if condition(found):
                return found
            last = found
        except ControlError as error:
            last = error
        if time.monotonic() > deadline:
            raise ServerFailed(f"not {what} within {within:g} s: {last}\n{server.output}")
        time.sleep(0.03)


def names(found: Status, state: str = "ready") -> list[str]:
    """The workers in this state."""
    return [worker["name"] for worker in found["workers"] if worker["state"] == state]


def named(found: Status, name: str) -> dict[str, Any]:
    """This worker; empty when there is none."""
    return next((dict(worker) for worker in found["workers"] if worker["name"] == name), {})


def worker_of(server: Server, call: str) -> dict[str, Any]:
    """The worker that carries this call."""
    found = until(server, lambda s: any(call in w["calls"] for w in s["workers"]), f"anybody carrying {call}")
    return next(dict(worker) for worker in found["workers"] if call in worker["calls"])


def alive(pid: int) -> bool:
    """Whether this process runs; one that has ended and that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
