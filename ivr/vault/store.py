# SPDX-License-Identifier: GPL-3.0-or-later
"""Two folders: sealed segments (`recordings/<call>/<recording>/`) and sealed secrets (`keystore/<recording>.age`).

They are apart so that the key store can be backed up on its own, shorter, clock: erasing a recording means destroying
its key, and a backup of the key store brings it back.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pyrage import x25519

from ivr.vault.archived import Archive
from ivr.vault.durable import (
    is_leftover,
    leftovers_of,
    make_folder,
    overwrite_and_remove,
    remove_durably,
    remove_if_empty,
    write_durably,
)
from ivr.vault.errors import NotFound, VaultError, VaultFull, VaultUnwritable, from_os_error
from ivr.vault.sealing import Recipients, load_recipients, new_recording_key
from ivr.vault.segments import SegmentFact, parse_segment_name, segment_name
from ivr.vault.spool import Spool
from ivr.vault.thread import SealingThread

MIN_FREE_BYTES = 256 * 1024 * 1024
"""Below this much free space no recording is started; about 4 hours of one call."""

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class StoredRecording:
    """What is on disk of one recording. `others` are files in its folder that are no segments (leftovers, strays)."""

    call: str
    recording: str
    segments: tuple[SegmentFact, ...]
    has_key: bool
    others: tuple[str, ...]

    @property
    def samples(self) -> int:
        return sum(segment.samples for segment in self.segments)

    @property
    def bytes(self) -> int:
        return sum(segment.bytes for segment in self.segments)


@dataclass(frozen=True, slots=True)
class Erasure:
    """What an erasure destroyed. Both counts are 0 and `key_destroyed` false when it had been done before.

    `archived`: segments that the archive has, 0 when what is known of it cannot be read; their removal is ordered in
    any case, and done when the archive can be reached.
    """

    recording: str
    key_destroyed: bool
    files: int
    bytes: int
    archived: int = 0


class RecordingStore:
    """The vault's folders. Thread-safe: it keeps no state but paths, public keys and a thread, and never a secret."""

    def __init__(
        self,
        recordings: Path,
        keystore: Path,
        recipients: Path | Recipients | None,
        *,
        min_free_bytes: int = MIN_FREE_BYTES,
        spool: Spool | None = None,
        archive: Callable[[], Archive] | None = None,
    ) -> None:
        """Without `recipients` the store can be read and erased from, but no recording can be made.

        With `spool` segments may be in an archive too: they are listed, and erasures ordered, without asking it.
        `archive` is called when one of them is read.

        Raises VaultError when a folder is missing, KeyFileError when the recipients cannot be used.
        """
        for folder in (recordings, keystore):
            if not folder.is_dir():
                raise VaultUnwritable("no such folder", folder, "run `ivr init`, or correct `storage` in server.yaml")
        self.recordings, self.keystore = recordings, keystore
        self._recipients = load_recipients(recipients) if isinstance(recipients, Path) else recipients
        self._min_free = min_free_bytes
        self._spool, self._archive = spool, archive
        self.thread = SealingThread()
        """Where those who record do their disk work."""

    def folder(self, call: str, recording: str) -> Path:
        """Where a recording's segments are. Raises VaultError for anything that is not a pair of UUIDs."""
        for value in (call, recording):
            if not _ID.fullmatch(value):
                raise VaultError(f"{value!r} is not an id", todo="expected a UUID in lower case")
        return self.recordings / call / recording

    def key_file(self, recording: str) -> Path:
        """Where a recording's secret is, sealed to the operator's recipients."""
        if not _ID.fullmatch(recording):
            raise VaultError(f"{recording!r} is not an id", todo="expected a UUID in lower case")
        return self.keystore / f"{recording}.age"

    # Writing: called on the sealing thread, for each recording in this order: create, add…, (drop…).

    def check_free(self) -> None:
        """Raises VaultFull when less than the configured minimum is free in either folder."""
        for folder in (self.recordings, self.keystore):
            try:
                info = os.statvfs(folder)
            except OSError as error:
                raise from_os_error(error, "look at the free space of", folder) from error
            free = info.f_bavail * info.f_frsize
            if free < self._min_free:
                raise VaultFull(
                    f"{free} bytes free, {self._min_free} required to start a recording",
                    folder,
                    "free some space, or lower the minimum in server.yaml",
                )

    def create(self, call: str, recording: str) -> x25519.Recipient:
        """Make a recording's key and folder, durably, and return the public key that seals its segments.

        The key comes first: a segment whose key is not on disk would be noise. Raises VaultExists when there has been a
        recording of this id (a permit opens one recorder, once), VaultFull, VaultUnwritable.
        """
        folder, key_file = self.folder(call, recording), self.key_file(recording)
        if self._recipients is None:
            raise VaultError("opened for reading only", self.recordings)
        self.check_free()
        sealed, public = new_recording_key(self._recipients, f"recording {recording} of call {call}")
        write_durably(key_file, sealed)
        try:
            self._make_folders(folder, exclusive=True)
        except VaultError:
            remove_durably(key_file)
            raise
        return public

    def add(self, call: str, recording: str, n: int, start: int, samples: int, sealed: bytes) -> SegmentFact:
        """Write one sealed segment durably. Raises VaultExists, VaultFull, VaultUnwritable; then it is not there."""
        path = self.folder(call, recording) / segment_name(n, start, samples)
        if self._spool is not None and not path.parent.is_dir():
            # While the recording was on hold everything was moved to the archive, and its empty folder removed.
            self._make_folders(path.parent)
        write_durably(path, sealed, group_as_folder=True)
        return SegmentFact(n, start, samples, hashlib.sha256(sealed).hexdigest(), len(sealed))

    def _make_folders(self, folder: Path, *, exclusive: bool = False) -> None:
        make_folder(folder.parent)
        try:
            make_folder(folder, exclusive=exclusive)
        except VaultUnwritable:
            # The archiver removes the empty folder of a call; it may do so between these two lines, once.
            if self._spool is None or folder.parent.is_dir():
                raise
            make_folder(folder.parent)
            make_folder(folder, exclusive=exclusive)

    def drop(self, call: str, recording: str, segment: SegmentFact) -> None:
        """Remove one segment durably (withdrawal reached back into it).

        Raises VaultError when the archive has it already. It takes none that is not long settled, and a withdrawal
        reaches back some seconds at most; if it ever were so, the recording must not pass for shortened.
        """
        if self._spool is not None and any(fact.n == segment.n for fact in self._spool.facts(call, recording)):
            raise VaultError(f"segment {segment.n} is in the archive already", recording, "erase the recording")
        remove_durably(self.folder(call, recording) / segment_name(segment.n, segment.start, segment.samples))

    def erase(self, call: str, recording: str) -> Erasure:
        """Destroy a recording: its key first, then its files. Can be repeated, and finishes what a crash interrupted.

        The key first, because from that moment on every copy of the files is noise, wherever it is.
        """
        folder = self.folder(call, recording)
        # A crash while the key was written left a copy of it beside.
        for copy in leftovers_of(self.key_file(recording)):
            overwrite_and_remove(copy)
        destroyed = overwrite_and_remove(self.key_file(recording))
        archived = 0
        if self._spool is not None:
            # Before the order, which hides what the archive has. An entry that cannot be read costs the count alone.
            with suppress(VaultError):
                archived = len(self._spool.facts(call, recording))
            self._spool.order_erasure(call, recording)
        files = size = 0
        try:
            for path in self._files(call, recording):
                size += path.lstat().st_size
                path.unlink()
                files += 1
            for empty in (folder, folder.parent):
                remove_if_empty(empty)
        except OSError as error:
            raise from_os_error(error, "erase", folder) from error
        return Erasure(recording, destroyed, files, size, archived)

    # Reading: needs no key.

    def inventory(self, call: str, recording: str) -> list[SegmentFact]:
        """The segments on disk, by number, with the hash of what is there now; empty when there is no such recording.

        Start and samples come from the files' names (nothing else can be read without the key): after a crash the
        ledger logs this as what was kept. Those in the archive are as they were when they were sent.
        """
        # The disk first, the archive's catalog after it: what is moved meanwhile is then seen once or twice, never not.
        here = [self._fact(path) for path in self._files(call, recording) if parse_segment_name(path.name)]
        facts = {(fact.n, fact.start): fact for fact in self._archived(call, recording)}
        facts |= {(fact.n, fact.start): fact for fact in here if fact is not None}
        return [facts[place] for place in sorted(facts)]

    def _archived(self, call: str, recording: str) -> list[SegmentFact]:
        return [] if self._spool is None else self._spool.facts(call, recording)

    def in_archive(self, call: str, recording: str) -> int:
        """How many segments the archive has."""
        return len(self._archived(call, recording))

    def reread(self, call: str, recording: str) -> StoredRecording:
        """Like `stored`, with the hash of what the archive has now in place of what it had. Raises ArchiveError too."""
        stored = self.stored(call, recording)
        here = {parse_segment_name(path.name) for path in self._files(call, recording)}
        facts = [fact for fact in stored.segments if (fact.n, fact.start, fact.samples) in here]
        if self._archive is None or len(facts) == len(stored.segments):
            return stored
        known = {fact.n for fact in facts}
        facts += [fact for fact in self._archive().inventory(call, recording) if fact.n not in known]
        return replace(stored, segments=tuple(sorted(facts, key=lambda fact: (fact.n, fact.start))))

    def read(self, call: str, recording: str, fact: SegmentFact) -> bytes:
        """A sealed segment, from the disk or else from the archive. Raises VaultError (ArchiveError for the latter)."""
        path = self.folder(call, recording) / segment_name(fact.n, fact.start, fact.samples)
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            if self._archive is None:
                raise from_os_error(error, "read", path) from error
            return self._archive().read(call, recording, fact)
        except OSError as error:
            raise from_os_error(error, "read", path) from error

    def _fact(self, path: Path) -> SegmentFact | None:
        named = parse_segment_name(path.name)
        if named is None:
            raise VaultError("is not a segment", path)
        try:
            with path.open("rb") as file:
                digest, size = hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_size
        except FileNotFoundError as error:
            if self._spool is None:
                raise from_os_error(error, "read", path) from error
            return None  # moved to the archive since it was listed
        except OSError as error:
            raise from_os_error(error, "read", path) from error
        return SegmentFact(*named, digest, size)

    def local_files(self, call: str, recording: str) -> list[Path]:
        """Every file in a recording's folder on this disk."""
        return self._files(call, recording)

    def _files(self, call: str, recording: str) -> list[Path]:
        folder = self.folder(call, recording)
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def stored(self, call: str, recording: str) -> StoredRecording:
        """What is on disk of one recording. Raises NotFound when neither files nor key are."""
        files, has_key = self._files(call, recording), self.key_file(recording).is_file()
        here = self.folder(call, recording).is_dir()
        if not has_key and not here and not self.in_archive(call, recording):
            raise NotFound("no such recording", recording, "`ivr recording list` shows what there is")
        others = tuple(path.name for path in files if not parse_segment_name(path.name))
        return StoredRecording(call, recording, tuple(self.inventory(call, recording)), has_key, others)

    def ids(self) -> Iterator[tuple[str, str]]:
        """(call, recording) of every folder, and of all that the archive has, oldest id first. Opens no file."""
        if self._spool is None:
            yield from self.local_ids()
        else:
            yield from sorted({*self.local_ids(), *self._spool.ids()})

    def local_ids(self) -> Iterator[tuple[str, str]]:
        """(call, recording) of every folder on this disk, oldest id first."""
        for call in sorted(self.recordings.iterdir()):
            if _ID.fullmatch(call.name) and call.is_dir():
                for recording in sorted(call.iterdir()):
                    if _ID.fullmatch(recording.name) and recording.is_dir():
                        yield call.name, recording.name

    def find(self, prefix: str) -> tuple[str, str]:
        """(call, recording) of the one recording whose id begins with `prefix`. Raises NotFound for none or several."""
        matches = [pair for pair in self.ids() if pair[1].startswith(prefix.lower())]
        if not prefix or len(matches) != 1:
            what = f"{len(matches)} recordings begin so" if matches else "no recording begins so"
            raise NotFound(what, repr(prefix), "`ivr recording list` shows the ids")
        return matches[0]

    def strays(self) -> list[Path]:
        """Everything in both folders that is no segment, key or folder of them; and keys without a folder."""
        known = {recording for _, recording in self.ids()}
        found = [path for path in self.keystore.iterdir() if path.suffix != ".age" or path.stem not in known]
        for call in self.recordings.iterdir():
            if not (_ID.fullmatch(call.name) and call.is_dir()):
                found.append(call)
                continue
            for recording in call.iterdir():
                if not (_ID.fullmatch(recording.name) and recording.is_dir()):
                    found.append(recording)
                else:
                    found += [path for path in recording.iterdir() if not parse_segment_name(path.name)]
        return sorted([*found, *(self._spool.strays() if self._spool is not None else ())])

    def remove_leftovers(self, call: str, recording: str) -> list[str]:
        """Remove what a crash left of a recording that nobody is writing any more; the names that went.

        Such files hold sealed bytes only, of a segment that was never acknowledged or a key that was never used.
        """
        gone = [path for path in self._files(call, recording) if is_leftover(path.name)]
        gone += leftovers_of(self.key_file(recording))
        for path in gone:
            remove_durably(path)
        return [path.name for path in gone]
