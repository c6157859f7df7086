# SPDX-License-Identifier: GPL-3.0-or-later
"""Does every recording file match its logged hash, and does every file on disk belong to an event? Opens no sealed file
for its content: hashing needs no key."""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ivr.audit.findings import Check, Finding
from ivr.audit.recordings import Recording, Recordings, Segment
from ivr.audit.source import SourceError

_SEGMENT = re.compile(r"[0-9]{6}-[0-9]{12}-[0-9]{12}\.flac\.age")


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """One object of an archive, which holds segments of one recording; both ids are empty for one that is no such."""

    place: str
    call: str
    recording: str


@dataclass(frozen=True, slots=True)
class ElsewhereFile:
    """One segment in it, as it is read now. `problem`: why the object, or what is left of it, cannot be read."""

    name: str
    sha256: str
    bytes: int
    problem: str = ""


class Archive(Protocol):
    """Where segments are that have left the folder. Both raise SourceError when it cannot be reached."""

    def objects(self) -> list[Elsewhere]:
        """Everything that is there."""

    def read(self, one: Elsewhere) -> list[ElsewhereFile]:
        """The segments in one object."""


def check_files(folder: Path, recordings: Recordings, archive: Archive | None = None) -> list[Finding]:
    """Compare `folder` (`<call>/<recording>/<segment>`) with the log, and all of `archive`. Raises SourceError when
    either cannot be read.

    A recording that has not stopped is being written: its segments are no strays, and get their account when it stops
    (or from the ledger, when its worker is lost).
    """
    if not folder.is_dir():
        raise SourceError(f"{folder}: no such folder of recordings")
    # The folder before the archive: what is moved meanwhile is then seen in both, and never in neither.
    elsewhere: set[tuple[str, str]] = set()
    try:
        before = {path.relative_to(folder).parts[1:] for path in _files(folder)} if archive is not None else set()
        away = list(_in_archive(archive, recordings, elsewhere)) if archive is not None else []
        missing = _missing(folder, recordings, elsewhere | before)
        return [
            *missing,
            *sorted([*_on_disk(folder, recordings, archive is not None), *away], key=lambda one: one.place or ""),
        ]
    except OSError as error:
        raise SourceError(f"{error.filename}: {error.strerror}") from None


def _in_archive(archive: Archive, recordings: Recordings, seen: set[tuple[str, str]]) -> Iterator[Finding]:
    """What the archive has and the log does not, or has otherwise. `seen` gets the (recording, name) that both have."""
    for one in archive.objects():
        recording = recordings.get(one.recording) if one.recording else None
        if recording is None or recording.call != one.call:
            yield Finding(Check.STRAY_FILE, "belongs to no event of the log", place=one.place)
            continue
        event = recording.erased or recording.stopped or recording.started
        if recording.erased is not None:
            what = "was erased according to the log: its key is gone, the archive still has this"
            yield Finding(Check.NOT_ERASED, what, event, one.call, one.place)
            continue
        for file in archive.read(one):
            segment = recording.segments.get(file.name)
            if file.problem:
                yield Finding(Check.SEGMENT_CHANGED, file.problem, event, one.call, one.place)
            elif segment is not None:
                seen.add((recording.id, file.name))
                if (file.bytes, file.sha256) != (segment.bytes, segment.sha256):
                    what = f"the content of segment {segment.n} is not what was logged"
                    yield Finding(Check.SEGMENT_CHANGED, what, event, one.call, f"{one.place}: {file.name}")
            elif recording.stopped is not None or not _may_be_open(file.name):
                what = "is not among the logged segments"
                yield Finding(Check.STRAY_FILE, what, event, one.call, f"{one.place}: {file.name}")


def _missing(folder: Path, recordings: Recordings, elsewhere: set[tuple[str, ...]]) -> Iterator[Finding]:
    for recording in recordings:
        if recording.erased is not None:
            continue
        for name, segment in recording.segments.items():
            path = folder / recording.call / recording.id / name
            if not path.is_file() and (recording.id, name) not in elsewhere:
                what = f"segment {segment.n} ({segment.samples} samples) is not on disk"
                yield _finding(Check.SEGMENT_MISSING, what, recording, path, folder)


def _on_disk(folder: Path, recordings: Recordings, moving: bool) -> Iterator[Finding]:
    for path in _files(folder):
        parts = path.relative_to(folder).parts
        recording = recordings.get(parts[1]) if len(parts) == 3 else None
        if recording is None or recording.call != parts[0] or path.is_symlink():
            yield Finding(Check.STRAY_FILE, "belongs to no event of the log", place="/".join(parts))
        elif recording.erased is not None:
            yield _finding(Check.NOT_ERASED, "was erased according to the log", recording, path, folder)
        elif (segment := recording.segments.get(path.name)) is not None:
            try:
                yield from _changed(path, segment, recording, folder)
            except FileNotFoundError:
                if not moving:
                    raise
        elif recording.stopped is not None or not _may_be_open(path.name):
            yield _finding(Check.STRAY_FILE, "is not among the logged segments", recording, path, folder)


def _files(folder: Path) -> Iterator[Path]:
    # One entry at a time, as the system gives them: a list of all would grow with the log.
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry.path))
            else:
                yield Path(entry.path)


def _changed(path: Path, segment: Segment, recording: Recording, folder: Path) -> Iterator[Finding]:
    size = path.stat().st_size
    if size != segment.bytes:
        what = f"segment {segment.n} has {size} bytes, {segment.bytes} were logged"
        yield _finding(Check.SEGMENT_CHANGED, what, recording, path, folder)
        return
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != segment.sha256:
        what = f"the content of segment {segment.n} is not what was logged"
        yield _finding(Check.SEGMENT_CHANGED, what, recording, path, folder)


def _may_be_open(name: str) -> bool:
    # While a recording runs, the vault's temporary files begin with a dot.
    return _SEGMENT.fullmatch(name) is not None or name.startswith(".")


def _finding(check: Check, what: str, recording: Recording, path: Path, folder: Path) -> Finding:
    event = recording.erased or recording.stopped or recording.started
    return Finding(check, what, event, recording.call, str(path.relative_to(folder)))
