# SPDX-License-Identifier: GPL-3.0-or-later
"""How a node stands at one moment, from all its parts. What could not be had is None, with the reason beside it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ivr.node.archive import ArchiveStatus
from ivr.node.edge.control import EdgeStatus

LONGEST = 100
_WORDS = ("call", "edge", "flow", "state", "recorded", "reason")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`pool` is Manager.status(), `ledger` LedgerService.stats(), `media` as MediaTally gives it, of all workers.

    `alarms` is what `ivr log watch --prometheus` printed last. `wants_edge`, `wants_archive`: whether one is set;
    `wants_front`: whether the edge is one before nodes.
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
    wants_front: bool = False
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
        """The calls that are up (CallStatus), each with the `worker` that has it; those that make sense."""
        return [
            {**call, "worker": worker["name"]}
            for worker in self.workers
            for call in _listed(worker, "calls")
            if _is_status(call)
        ]

    @property
    def lags(self) -> list[float]:
        """Unsealed audio of every running recording, in seconds."""
        found = (lag for worker in self.workers for lag in _listed(worker, "lag_s"))
        return [float(lag) for lag in found if isinstance(lag, int | float) and math.isfinite(lag)]


def _listed(worker: Mapping[str, Any], name: str) -> list[Any]:
    found = worker["stats"].get(name, [])
    return found if isinstance(found, list) else []


def _is_status(call: object) -> bool:
    """A worker parses what strangers send: what one says is shown only in the form that a sound one gives it."""
    if not isinstance(call, dict) or not isinstance(call.get("since"), int | float):
        return False
    parties = call.get("parties")
    words = [call.get(name) for name in _WORDS] + (parties if isinstance(parties, list) else [None])
    return all(isinstance(word, str) and len(word) <= LONGEST and word.isprintable() for word in words)
