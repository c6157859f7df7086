# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves sealed segments from this machine's disk to the archive, and removes from it what was erased.

For each pack, in this order: the catalog says that it may be there; one PUT; what is there is read back and hashed; the
catalog says that it is there; then the segments go from the disk. After a crash between any two of these the next round
goes on: nothing leaves the disk before the catalog says, durably, that the archive has it.
"""

import hashlib
import itertools
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ivr.vault.archived import Archive
from ivr.vault.durable import remove_if_empty, sync_folder
from ivr.vault.errors import ArchiveAway, ArchiveError, VaultError, from_os_error
from ivr.vault.pack import PACK_BYTES, build_pack, pack_name
from ivr.vault.segments import SegmentFact, parse_segment_name, segment_name
from ivr.vault.spool import Pack
from ivr.vault.store import RecordingStore

_log = logging.getLogger(__name__)
AT_ONCE = 4
"""Recordings that are moved at a time: while one waits for the archive's answer, the next is read."""


@dataclass(slots=True)
class Round:
    """What one look at everything did. `error` is the first one; what it hit is tried again in the next round."""

    packs: int = 0
    segments: int = 0
    bytes: int = 0
    erased: int = 0
    objects_removed: int = 0
    error: VaultError | None = None
    away: bool = False
    failed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Pace:
    """When what is moved. `settle_s`: a segment is left alone so long; `keep_s`: it stays here so long after."""

    settle_s: float = 120.0
    keep_s: float = 0.0


class Archiver:
    """One a node at a time: `ivr.node.archive` holds the lock."""

    def __init__(self, store: RecordingStore, archive: Archive, pace: Pace) -> None:
        self._store, self._archive, self._spool = store, archive, archive.spool
        self._pace = pace
        self._stopped: Callable[[], bool] = lambda: False
        self._counting = threading.Lock()  # the counts of a round

    def round(self, now: float, stopped: Callable[[], bool] = lambda: False) -> Round:
        """Look at everything once: erasures first. Raises nothing that a later round can make good."""
        done = Round()
        self._stopped = stopped
        for ordered in self._spool.erasures():
            self._guarded(done, ordered.recording, partial(self._erase, ordered.call, ordered.recording, done))
        with ThreadPoolExecutor(AT_ONCE, "archive") as pool:
            waits = [
                pool.submit(self._guarded, done, recording, partial(self._move, call, recording, now, done))
                for call, recording in self._store.local_ids()
            ]
            for wait in waits:
                wait.result()
        return done

    def _guarded(self, done: Round, name: str, work: Callable[[], None]) -> None:
        # An archive that is away is asked once a round, not once a recording. One that refuses may refuse this alone.
        if self._stopped() or done.away:
            return
        try:
            work()
        except VaultError as error:
            with self._counting:
                done.away = done.away or isinstance(error, ArchiveAway)
                done.error = done.error or error
                done.failed.append(name)

    def _erase(self, call: str, recording: str, done: Round) -> None:
        # Every object under the recording's name, also of a send that a crash cut short.
        done.objects_removed += self._archive.remote.remove(self._archive.folder(call, recording))
        self._spool.erasure_done(call, recording)
        done.erased += 1

    def _move(self, call: str, recording: str, now: float, done: Round) -> None:
        here = self._local(call, recording, now)
        if here and not self._spool.is_erased(call, recording):
            packs = {pack.name: pack for pack in self._spool.packs(call, recording)}
            for pack in [pack for pack in packs.values() if not pack.sent]:
                del packs[pack.name]
                if (again := self._read(call, recording, pack.segments)) is not None:
                    self._send(call, recording, packs, again, now, done)
            sent = {fact.n for pack in packs.values() for fact in pack.segments}
            for group in _groups([(fact, age) for fact, age in here if fact.n not in sent], self._pace.settle_s):
                if (read := self._read(call, recording, group)) is not None:
                    self._send(call, recording, packs, read, now, done)
            self._tidy(call, recording, [fact for fact, _ in here], now)
        self._fold(self._store.folder(call, recording), now)

    def _local(self, call: str, recording: str, now: float) -> list[tuple[SegmentFact, float]]:
        """(segment, its age in seconds) on this disk, by number; without hashes yet."""
        found: list[tuple[SegmentFact, float]] = []
        for path in self._store.local_files(call, recording):
            if named := parse_segment_name(path.name):
                try:
                    info = path.stat()
                except FileNotFoundError:  # erased, or taken back, since it was listed
                    continue
                found.append((SegmentFact(*named, "", info.st_size), now - info.st_mtime))
        return sorted(found, key=lambda one: one[0].n)

    def _read(
        self, call: str, recording: str, facts: Sequence[SegmentFact]
    ) -> list[tuple[str, bytes, SegmentFact]] | None:
        """Name, bytes and facts of these; None when one is gone, or is not what it was: then it is planned anew."""
        folder, found = self._store.folder(call, recording), []
        for fact in facts:
            name = segment_name(fact.n, fact.start, fact.samples)
            try:
                data = (folder / name).read_bytes()
            except FileNotFoundError:
                return None
            except OSError as error:
                raise from_os_error(error, "read", folder / name) from error
            digest = hashlib.sha256(data).hexdigest()
            if fact.sha256 not in ("", digest):
                return None
            found.append((name, data, SegmentFact(fact.n, fact.start, fact.samples, digest, len(data))))
        return found

    def _send(
        self,
        call: str,
        recording: str,
        packs: dict[str, Pack],
        files: Sequence[tuple[str, bytes, SegmentFact]],
        now: float,
        done: Round,
    ) -> None:
        facts = tuple(fact for _, _, fact in files)
        data = build_pack([(name, content) for name, content, _ in files])
        digest = hashlib.sha256(data).hexdigest()
        pack = Pack(pack_name(facts[0].n, facts[-1].n), digest, len(data), 0, facts)
        key = self._archive.folder(call, recording) + pack.name
        self._spool.save(call, recording, [*packs.values(), pack])
        # An erasure that was ordered before the line above hides the entry; one ordered after it finds it. Either way
        # the order stands until every object under this recording's name is gone.
        if self._spool.is_erased(call, recording):
            return
        self._archive.remote.put(key, data)
        back = self._archive.remote.get(key)
        if back != data:
            what = f"{len(back)} bytes came back that are not the {len(data)} sent"
            raise ArchiveError(what, f"{self._archive.remote.where}/{key}", "nothing was removed here; is it full?")
        packs[pack.name] = Pack(pack.name, digest, len(data), now, facts)
        self._spool.save(call, recording, list(packs.values()))
        with self._counting:
            done.packs += 1
            done.segments += len(facts)
            done.bytes += len(data)

    def _tidy(self, call: str, recording: str, here: Sequence[SegmentFact], now: float) -> None:
        """Remove here what the archive has."""
        # Read again, not remembered: it holds only if it is on the disk, and no erasure was ordered meanwhile.
        packs = self._spool.packs(call, recording)
        sent = {
            segment_name(fact.n, fact.start, fact.samples): fact.sha256
            for pack in packs
            if pack.sent and now >= pack.sent + self._pace.keep_s
            for fact in pack.segments
        }
        folder, removed = self._store.folder(call, recording), False
        try:
            for fact in here:
                name = segment_name(fact.n, fact.start, fact.samples)
                if name in sent:
                    removed = _removed(folder / name, sent[name]) or removed
            if removed:
                sync_folder(folder)
        except OSError as error:
            raise from_os_error(error, "remove what was moved from", folder) from error

    def _fold(self, folder: Path, now: float) -> None:
        """Remove a folder that has been empty for a while; a recording that goes on after a hold makes it again."""
        try:
            if now - folder.stat().st_mtime >= self._pace.settle_s:
                remove_if_empty(folder)
                remove_if_empty(folder.parent)
        except FileNotFoundError:
            return
        except OSError as error:
            raise from_os_error(error, "remove", folder) from error


def _groups(waiting: Sequence[tuple[SegmentFact, float]], settle_s: float) -> list[list[SegmentFact]]:
    """What is ready to go, a pack each: full packs, and the rest once nothing was added for `settle_s`."""
    ready = [fact for fact, _ in itertools.takewhile(lambda one: one[1] >= settle_s, waiting)]
    groups: list[list[SegmentFact]] = [[]]
    size = 0
    for fact in ready:
        if groups[-1] and size + fact.bytes > PACK_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(fact)
        size += fact.bytes
    return [group for group in (groups if len(ready) == len(waiting) else groups[:-1]) if group]


def _removed(path: Path, sha256: str) -> bool:
    """Unlink a segment that is what was sent. Raises OSError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return False
    if hashlib.sha256(data).hexdigest() != sha256:
        # Not what was sent, so not known to be anywhere else: it stays, and `ivr log verify` names it.
        _log.warning("%s is not what was sent to the archive: it stays", path)
        return False
    path.unlink(missing_ok=True)
    return True
