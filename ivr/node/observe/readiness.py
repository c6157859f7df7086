# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a node can take a call and record it, and what is missing when it cannot."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from ivr.node.observe.snapshot import Snapshot

STUCK_S = 2.0
"""An event that waits so long for the disk: the ledger writes no more, whatever it says of itself."""


@dataclass(frozen=True, slots=True)
class Missing:
    """`what` is a part of the node: node, workers, ledger or edge."""

    what: str
    why: str

    def as_json(self) -> dict[str, str]:
        """For programs."""
        return asdict(self)


def missing(snapshot: Snapshot) -> list[Missing]:
    """Empty when the node is ready. A node that is not takes calls all the same, where it can; unrecorded, perhaps."""
    return [*_pool(snapshot), *_ledger(snapshot), *_edge(snapshot)]


def _pool(snapshot: Snapshot) -> Iterator[Missing]:
    pool = snapshot.pool
    if pool is None:
        yield Missing("node", snapshot.pool_error)
        return
    if pool["state"] in ("draining", "stopping"):
        yield Missing("node", f"it is {pool['state']}: no new calls")
    elif not any(worker["state"] == "ready" for worker in pool["workers"]):
        yield Missing("workers", "none is ready")


def _ledger(snapshot: Snapshot) -> Iterator[Missing]:
    ledger = snapshot.ledger
    if ledger is None:
        yield Missing("ledger", snapshot.ledger_error)
    elif not ledger["writing"]:
        yield Missing("ledger", "it cannot write: its own lines say why")
    elif ledger["oldest_s"] > STUCK_S:
        yield Missing("ledger", f"an event has waited {ledger['oldest_s']:.1f} s for the disk")


def _edge(snapshot: Snapshot) -> Iterator[Missing]:
    if not snapshot.wants_edge:
        return
    if snapshot.edge is None:
        yield Missing("edge", snapshot.edge_error)
    elif not any(place.state == "active" for place in snapshot.edge.places):
        yield Missing("edge", "it has no worker to give calls to")
