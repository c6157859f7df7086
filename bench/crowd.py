# SPDX-License-Identifier: GPL-3.0-or-later
"""Many calls at once on a server with edge and pool."""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.phones import Phones, Ring
from bench.served import address, create
from bench.sipp import Sipp
from demo.server import Server, ServerFailed, free_port, ivr

CALLS_EACH = 2
RTP_EACH = 16
SPARE = 1
"""Workers beyond those that the calls need."""


class Crowd:
    """A server for `most` calls at once with its callers and agents. A context manager that ends all of it.

    All workers are started beforehand: what is measured is calls, not the growth of the pool.
    """

    def __init__(
        self,
        folder: Path,
        most: int,
        settings: Mapping[str, Mapping[str, object]] | None = None,
        phones: Phones | None = None,
    ) -> None:
        self._folder = folder
        self._settings = settings or {}
        self._stack = ExitStack()
        self._most = most
        self.phones = phones or Phones(folder)
        self.server: Server

    def __enter__(self) -> Self:
        try:
            self._stack.enter_context(self.phones)
            workers = self._most // CALLS_EACH + SPARE
            settings = {
                "pool": {"max": workers, "min_spare": workers, "sip_port": free_port(50_000, 52_000, workers)},
                "media": {"port": free_port(10_000, 19_000), "port_range": RTP_EACH * workers},
                **self._settings,
                "edge": {
                    "inside": {"address": "127.0.0.1", "port": free_port(53_000, 54_000)},
                    # All callers are one address here: no limit but the workers is to be met.
                    "trunks": [{"name": "bench", "sources": ["127.0.0.1"], "calls": 10_000, "rate": 1_000}],
                },
            }
            self.server = create(self._folder / "served", [self.phones.agent], settings)
            self._stack.enter_context(self.server)
            self.server.start(within=120)
            self._wait_active(workers, within=120)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def _wait_active(self, workers: int, within: float) -> None:
        """Until the edge gives calls to so many workers."""
        deadline = time.monotonic() + within
        while True:
            asked = ivr("edge", "status", "--json", "--config", self.server.folder)
            active = sum(place["state"] == "active" for place in asked.json["workers"]) if asked.status == 0 else 0
            if active == workers:
                return
            if time.monotonic() > deadline:
                raise ServerFailed(
                    f"{active} of {workers} workers take calls after {within:g} s:\n{self.server.output}"
                )
            time.sleep(0.5)

    def ring(self, ring: Ring) -> Sipp:
        """Starts a SIPp with so many callers; a context manager."""
        return self.phones.ring(address(self.server), ring)

    def wait_recording(self, count: int, since: int, within: float) -> None:
        """Until so many recordings run that began after event `since`."""
        self.server.log.wait("recording.started", within=within, since=since, count=count)


def roles(server: Server) -> dict[str, set[int]]:
    """The processes of a server by what they do."""
    found: dict[str, set[int]] = {"worker": set(), "edge": set(), "ledger": set(), "parent": set()}
    for pid in server.family():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        line = words.replace("\0", " ")
        role = "edge" if "kamailio" in line else "worker" if " worker" in line else "parent"
        found["ledger" if " ledger" in line else role].add(pid)
    return found
