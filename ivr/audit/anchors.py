# SPDX-License-Identifier: GPL-3.0-or-later
"""What people outside have said of a log's checkpoints: time stamps and cosignatures, files that are checked offline.

In the folder: `<size>.checkpoint`, the signed note with the cosignatures under it, and `<size>.<authority>.tsr`,
RFC 3161 responses over the note without them. Each is also a checkpoint kept outside the database, which the log must
extend.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from ivr.audit.checkpoints import Kept
from ivr.audit.findings import Check, Finding
from ivr.ledger.cosignature import Cosignature, CosignerKey, cosigners
from ivr.ledger.note import Checkpoint, NoteError, note_text
from ivr.ledger.timestamp import Stamp, StampError, check_stamp

_NOTE = re.compile(r"([0-9]{12})\.checkpoint")
_STAMP = re.compile(r"([0-9]{12})\.[A-Za-z0-9.-]+\.tsr")


@dataclass(slots=True)
class Anchors:
    """What was found. `kept` are to be compared with the log; `unchecked` stamps have no root to check them with."""

    kept: list[Kept] = field(default_factory=list)
    stamps: list[tuple[int, Stamp]] = field(default_factory=list)
    cosignatures: list[tuple[int, Cosignature]] = field(default_factory=list)
    unchecked: int = 0
    findings: list[Finding] = field(default_factory=list)


def note_file(size: int) -> str:
    """The name of an anchored checkpoint."""
    return f"{size:012d}.checkpoint"


def stamp_file(size: int, authority: str) -> str:
    """The name of a time stamp; of `authority` only what may be in a name is left."""
    return f"{size:012d}.{re.sub(r'[^A-Za-z0-9.-]', '-', authority)}.tsr"


def log_note(note: str) -> str:
    """The note as the log signed it, without what witnesses added: what a time stamp is over.

    The log's own signatures come first, those of witnesses under them, and none of those has the log's name.
    """
    text = note_text(note)
    origin = text.partition("\n")[0]
    lines = note[len(text) + 1 :].splitlines(keepends=True)
    return text + "\n" + "".join(line for line in lines if line.startswith(f"— {origin} "))


def cosigned_notes(folder: Path) -> list[tuple[int, str]]:
    """The checkpoints that carry more than the log's own signature, by size. Nothing is checked."""
    found = []
    for size, path in _notes(folder):
        note = path.read_text("utf-8")
        try:
            if log_note(note) != note:
                found.append((size, note))
        except NoteError:
            continue
    return found


def read_anchors(folder: Path, roots: Sequence[x509.Certificate], witnesses: Sequence[CosignerKey]) -> Anchors:
    """Check all files of the folder. The log's own signatures are checked with the log, not here. Raises OSError."""
    anchors = Anchors()
    notes: dict[int, str] = {}
    for size, path in _notes(folder):
        try:
            note = path.read_text("utf-8")
            if Checkpoint.parse(note_text(note)).size != size:
                raise NoteError("it is of another size than its name says")
            notes[size] = note
            anchors.kept.append(Kept(note, path.name))
            anchors.cosignatures += [(size, found) for found in cosigners(note, witnesses)]
        except (NoteError, UnicodeDecodeError) as error:
            anchors.findings.append(Finding(Check.ANCHOR, str(error), place=path.name))
    for path in sorted(folder.glob("*.tsr")) if folder.is_dir() else []:
        _stamp(anchors, path, notes, roots)
    return anchors


def _stamp(anchors: Anchors, path: Path, notes: dict[int, str], roots: Sequence[x509.Certificate]) -> None:
    match = _STAMP.fullmatch(path.name)
    size = int(match[1]) if match else -1
    try:
        if size not in notes:
            raise StampError("the checkpoint that it is of is not beside it, or is none")
        if not roots:
            anchors.unchecked += 1
            return
        anchors.stamps.append((size, check_stamp(path.read_bytes(), log_note(notes[size]), roots)))
    except StampError as error:
        anchors.findings.append(Finding(Check.ANCHOR, str(error), place=path.name))


def _notes(folder: Path) -> Iterator[tuple[int, Path]]:
    for path in sorted(folder.glob("*.checkpoint")) if folder.is_dir() else []:
        match = _NOTE.fullmatch(path.name)
        if match:
            yield int(match[1]), path
