# SPDX-License-Identifier: GPL-3.0-or-later
"""How a node stands at one moment, from all its parts. What could not be had is None, with the reason beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ivr.node.archive import ArchiveStatus
from ivr.node.edge.control import EdgeStatus


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`pool` is Manager.status(), `ledger` LedgerService.stats(), `media` as MediaTally gives it, of all workers.

    `alarms` is what `ivr log watch --prometheus` printed last. `wants_edge`, `wants_archive`: whether one is set.
    """

    at: float
    version: str
    origin: str
    pool: Mapping[str, Any] | None = None
    pool_error: str = ""
    ledger: Mapping[str, Any] | None = None
    ledger_error: str = ""
    ledger_answer_s: float = 0.0
    wants_edge: bool = False
    edge: EdgeStatus | None = None
    edge_error: str = ""
    wants_archive: bool = False
    archive: ArchiveStatus | None = None
    archive_error: str = ""
    media: Mapping[str, Any] = field(default_factory=dict)
    free_bytes: int | None = None
    certificate_until: float | None = None
    alarms: str = ""

    @property
    def workers(self) -> list[Mapping[str, Any]]:
        """The workers that there are."""
        return list(self.pool["workers"]) if self.pool else []

    @property
    def calls(self) -> list[Mapping[str, Any]]:
        """The calls that are up (CallStatus), each with the `worker` that has it."""
        return [
            {**call, "worker": worker["name"]}
            for worker in self.workers
            for call in worker.get("stats", {}).get("calls", [])
        ]
