# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading segments that are in the archive."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ivr.vault.errors import ArchiveError, Damaged, NotFound, VaultError
from ivr.vault.pack import is_pack_name, read_pack
from ivr.vault.remote import Remote
from ivr.vault.segments import SegmentFact, segment_name
from ivr.vault.spool import Spool


@dataclass(frozen=True, slots=True)
class InArchive:
    """One object of the archive. `call` and `recording` are empty for one that is no pack."""

    key: str
    call: str = ""
    recording: str = ""


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """One segment as it is in the archive now: file name, hash, length, and the object it is in."""

    name: str
    sha256: str
    bytes: int
    key: str


class Archive:
    """A node's part of an archive: everything is under `node`. Keeps the last pack that was read; for one thread."""

    def __init__(self, spool: Spool, remote: Remote, node: str) -> None:
        self.spool, self.remote, self.node = spool, remote, node
        self._last: tuple[str, dict[str, bytes]] = ("", {})

    def folder(self, call: str, recording: str) -> str:
        """Where the packs of a recording are; ends with /."""
        return f"{self.node}/{call}/{recording}/"

    def read(self, call: str, recording: str, fact: SegmentFact) -> bytes:
        """A sealed segment. Raises NotFound, Damaged when it is not what was sent, ArchiveAway, ArchiveRefused."""
        name = segment_name(fact.n, fact.start, fact.samples)
        for pack in self.spool.packs(call, recording):
            if pack.sent and any(one.n == fact.n for one in pack.segments):
                key = self.folder(call, recording) + pack.name
                data = self._pack(key).get(name)
                if data is None or hashlib.sha256(data).hexdigest() != fact.sha256:
                    raise Damaged(f"segment {fact.n} is not what was sent", f"{self.remote.where}/{key}")
                return data
        raise NotFound(f"segment {fact.n} is in no pack of the archive", recording)

    def listing(self) -> Iterator[InArchive]:
        """Every object of this node, as the archive lists them now."""
        pattern = re.compile(rf"{re.escape(self.node)}/([^/]+)/([^/]+)/([^/]+)")
        for stored in self.remote.keys(f"{self.node}/"):
            found = pattern.fullmatch(stored.key)
            if found and is_pack_name(found[3]):
                yield InArchive(stored.key, found[1], found[2])
            else:
                yield InArchive(stored.key)

    def files(self, key: str) -> list[ArchivedFile]:
        """The segments in a pack, hashed as they come. Raises Damaged, NotFound, ArchiveAway, ArchiveRefused."""
        found = self._pack(key).items()
        return [ArchivedFile(name, hashlib.sha256(data).hexdigest(), len(data), key) for name, data in found]

    def inventory(self, call: str, recording: str) -> list[SegmentFact]:
        """Like `Spool.facts`, but with the hash and length of what the archive has now; what is gone is left out."""
        found: list[SegmentFact] = []
        for fact in self.spool.facts(call, recording):
            try:
                data = self.read(call, recording, fact)
            except (NotFound, Damaged):
                # The caller compares with the log, and names what is not there; its own hash says so here.
                found += self._as_it_is(call, recording, fact)
                continue
            found.append(SegmentFact(fact.n, fact.start, fact.samples, fact.sha256, len(data)))
        return found

    def _as_it_is(self, call: str, recording: str, fact: SegmentFact) -> list[SegmentFact]:
        name = segment_name(fact.n, fact.start, fact.samples)
        for pack in self.spool.packs(call, recording):
            try:
                data = self._pack(self.folder(call, recording) + pack.name).get(name)
            except ArchiveError:
                raise
            except VaultError:
                continue
            if data is not None:
                return [SegmentFact(fact.n, fact.start, fact.samples, hashlib.sha256(data).hexdigest(), len(data))]
        return []

    def _pack(self, key: str) -> dict[str, bytes]:
        if self._last[0] != key:
            self._last = (key, read_pack(self.remote.get(key), f"{self.remote.where}/{key}"))
        return self._last[1]
