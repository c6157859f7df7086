# SPDX-License-Identifier: GPL-3.0-or-later
"""What verification finds: each finding says which check failed, in which call and event, and at what place."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Check(StrEnum):
    """Which promise does not hold."""

    EVENT = "event"
    """The bytes of an event are not what was signed, or not in the one form an event has."""
    ORDER = "order"
    """An event is missing, inserted or in another place than the one it was signed for."""
    CHAIN = "chain"
    """An event does not name the hash of the one before it."""
    TIME = "time"
    """The ledger's time goes back."""
    INDEX = "index"
    """A column beside the signed event says something else than the event."""
    TREE = "tree"
    """The events do not give the root that a signed checkpoint names."""
    CUT = "cut"
    """The log is shorter than a signed checkpoint says."""
    CHECKPOINT = "checkpoint"
    """A checkpoint is malformed, not signed by the log's key, or absent."""
    KEY = "key"
    """A change of the signing key was not announced by the key before it, or the given key is not the log's."""
    ANCHOR = "anchor"
    """A time stamp or a cosignature of a checkpoint does not hold."""
    DISCLOSURE = "disclosure"
    """A personal field is not the one that was signed."""
    SEGMENT_MISSING = "segment-missing"
    """A logged segment is not on disk."""
    SEGMENT_CHANGED = "segment-changed"
    """A segment on disk is not the one that was logged."""
    STRAY_FILE = "stray-file"
    """A file among the recordings belongs to no event."""
    NOT_ERASED = "not-erased"
    """The log says that a recording was erased, and files of it are there."""
    RECORDING = "recording"
    """What the events say of a recording contradicts itself."""
    NODES = "nodes"
    """The logs of two nodes have their name, a signing key or a call in common."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not hold. `event` is a sequence number; `place` a file, a field or a checkpoint."""

    check: Check
    message: str
    event: int | None = None
    call: str | None = None
    place: str | None = None

    def __str__(self) -> str:
        where = [f"event {self.event}"] if self.event is not None else []
        where += [f"call {self.call}"] if self.call else []
        where += [self.place] if self.place else []
        return f"{self.check}: {', '.join(where) or 'log'}: {self.message}"

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)
