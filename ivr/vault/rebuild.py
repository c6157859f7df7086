# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalog anew, from what is in the archive: for a machine that lost its disk."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from ivr.vault.archived import Archive
from ivr.vault.errors import Damaged
from ivr.vault.pack import read_pack
from ivr.vault.segments import SegmentFact, parse_segment_name
from ivr.vault.spool import Pack


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """One object that was looked at. `problem`: why it did not go into the catalog."""

    key: str
    problem: str = ""


def rebuild(archive: Archive, now: float) -> Iterator[Rebuilt]:
    """Read every pack that the catalog does not name, and enter it. Can be repeated. Not beside an archiver.

    What is to be erased stays out. Raises VaultError.
    """
    for one in archive.listing():
        if not one.recording:
            yield Rebuilt(one.key, "is no pack")
            continue
        name = one.key.rpartition("/")[2]
        known = archive.spool.packs(one.call, one.recording)
        if archive.spool.is_erased(one.call, one.recording) or any(pack.sent and pack.name == name for pack in known):
            continue
        data = archive.remote.get(one.key)
        try:
            facts = _facts(read_pack(data, one.key))
        except Damaged as error:
            yield Rebuilt(one.key, error.what)
            continue
        pack = Pack(name, hashlib.sha256(data).hexdigest(), len(data), now, facts)
        archive.spool.save(one.call, one.recording, [*(old for old in known if old.name != name), pack])
        yield Rebuilt(one.key)


def _facts(files: dict[str, bytes]) -> tuple[SegmentFact, ...]:
    found = []
    for name, data in files.items():
        if named := parse_segment_name(name):
            found.append(SegmentFact(*named, hashlib.sha256(data).hexdigest(), len(data)))
    return tuple(sorted(found, key=lambda fact: fact.n))
