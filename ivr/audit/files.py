# SPDX-License-Identifier: GPL-3.0-or-later
"""Does every recording file match its logged hash, and does every file on disk belong to an event? Opens no sealed file
for its content: hashing needs no key."""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ivr.audit.findings import Check, Finding
from ivr.audit.recordings import Recording, Recordings, Segment
from ivr.audit.source import SourceError

_SEGMENT = re.compile(r"[0-9]{6}-[0-9]{12}-[0-9]{12}\.flac\.age")


def check_files(folder: Path, recordings: Recordings) -> list[Finding]:
    """Compare `folder` (`<call>/<recording>/<segment>`) with the log. Raises SourceError when it cannot be read.

    A recording that has not stopped is being written: its segments are no strays, and get their account when it stops
    (or from the ledger, when its worker is lost).
    """
    if not folder.is_dir():
        raise SourceError(f"{folder}: no such folder of recordings")
    try:
        return [*_missing(folder, recordings), *sorted(_on_disk(folder, recordings), key=lambda one: one.place or "")]
    except OSError as error:
        raise SourceError(f"{error.filename}: {error.strerror}") from None


def _missing(folder: Path, recordings: Recordings) -> Iterator[Finding]:
    for recording in recordings:
        if recording.erased is not None:
            continue
        for name, segment in recording.segments.items():
            path = folder / recording.call / recording.id / name
            if not path.is_file():
                what = f"segment {segment.n} ({segment.samples} samples) is not on disk"
                yield _finding(Check.SEGMENT_MISSING, what, recording, path, folder)


def _on_disk(folder: Path, recordings: Recordings) -> Iterator[Finding]:
    for path in _files(folder):
        parts = path.relative_to(folder).parts
        recording = recordings.get(parts[1]) if len(parts) == 3 else None
        if recording is None or recording.call != parts[0] or path.is_symlink():
            yield Finding(Check.STRAY_FILE, "belongs to no event of the log", place="/".join(parts))
        elif recording.erased is not None:
            yield _finding(Check.NOT_ERASED, "was erased according to the log", recording, path, folder)
        elif (segment := recording.segments.get(path.name)) is not None:
            yield from _changed(path, segment, recording, folder)
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
