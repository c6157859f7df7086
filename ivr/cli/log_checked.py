# SPDX-License-Identifier: GPL-3.0-or-later
"""One log checked as `ivr log verify` does it, and the verdict in words and for programs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr.audit.anchors import Anchors, read_anchors
from ivr.audit.checkpoints import Kept
from ivr.audit.files import Archive, check_files
from ivr.audit.findings import Finding
from ivr.audit.keys import Source
from ivr.audit.source import LogSource
from ivr.audit.tiles import TileFolder
from ivr.audit.verify import Report, verify_log
from ivr.cli.log import CouldNotRun, field_opener, progress, read_vkey, what_to_check
from ivr.ledger.cosignature import CosignerKey
from ivr.ledger.note import VKey
from ivr.ledger.timestamp import StampError, load_roots
from ivr.node.archive import open_archive
from ivr.node.archive_audit import ReadArchive, listed
from ivr.node.settings import Settings


@dataclass(frozen=True, slots=True)
class Outside:
    """What to compare the log with that did not come out of its database."""

    kept: Sequence[Path]
    anchors: Path | None
    roots: Sequence[Path]
    witnesses: Sequence[str]
    read_archive: bool = True

    def archive(self, folder: Path | None) -> Archive | None:
        """Where recordings are moved to, if this server moves any."""
        settings = Settings.load(folder) if folder is not None else None
        if settings is None or settings.storage.archive is None:
            return None
        if self.read_archive:
            return ReadArchive(open_archive(settings))
        return listed(settings)

    def read(self, folder: Path | None) -> Anchors:
        """`folder` is the server's, whose settings say where anchors are and whom to believe."""
        place, roots, witnesses = self.anchors, list(self.roots), list(self.witnesses)
        if folder is not None:
            settings = Settings.load(folder)
            place = place or settings.storage.anchors
            roots += [one.roots for one in settings.anchors.timestamps]
            witnesses += [one.key for one in settings.anchors.witnesses]
        if place is None:
            return Anchors()
        try:
            certificates = [certificate for file in roots for certificate in load_roots(file)]
        except StampError as error:
            raise CouldNotRun(str(error)) from error
        return read_anchors(place, certificates, [CosignerKey.parse(text) for text in dict.fromkeys(witnesses)])


def opened(
    folder: Path, db: Path | None, tiles: Path | None, vkey: str | None, recordings: Path | None
) -> tuple[Source, VKey, Path | None]:
    """The log to check, the key to check it with, and the recordings to compare."""
    if tiles is None:
        database, key, files = what_to_check(folder, db, vkey, recordings)
        # Sealed personal fields are checked too where this user may open them; elsewhere only their place is.
        opener = field_opener(Settings.load(folder)) if db is None else None
        return LogSource(database, opener), key, files
    if vkey is None:
        raise CouldNotRun("--tiles needs --vkey: the key that you were given, not one that came with the folder")
    return TileFolder(tiles), read_vkey(vkey), recordings


@dataclass(frozen=True, slots=True)
class Checked:
    """The verdict on one log. `files`: whether recordings were compared; `older`: how many kept checkpoints were.

    `archive`: whether what is in the archive was read; None where there is none.
    """

    report: Report
    found: Sequence[Finding]
    said: Anchors
    files: bool
    older: int
    archive: bool | None = None


def check(
    outside: Outside,
    source: Source,
    key: VKey,
    files: Path | None,
    folder: Path | None,
    on_call: Callable[[str], None] = lambda _call: None,
) -> Checked:
    """Verify a log. `files` are recordings to compare, `folder` is the server's. Closes the source."""
    older = [Kept(path.read_text("utf-8"), str(path)) for path in outside.kept]
    with source, progress(source.events) as advance:
        said = outside.read(folder)
        report = verify_log(source, key, [*older, *said.kept], advance, on_call)
    found = [*report.findings, *said.findings]
    archive = outside.archive(folder) if files else None
    found += check_files(files, report.recordings, archive) if files else []
    read = None if archive is None else outside.read_archive
    return Checked(report, found, said, files is not None, len(older), read)


def facts(checked: Checked) -> dict[str, Any]:
    """The verdict for programs."""
    report, found, said = checked.report, checked.found, checked.said
    return {
        "holds": not found,
        "log": report.log,
        "events": report.events,
        "calls": report.calls,
        "sealed": report.sealed,
        "checkpoints": report.checkpoints,
        "erased_fields": report.erased_fields,
        "sealed_fields": report.sealed_fields,
        "recordings": len(report.recordings),
        "files_checked": checked.files,
        "archive_read": checked.archive,
        "time_stamps": [{"size": size, "time": stamp.time.isoformat()} for size, stamp in said.stamps],
        "time_stamps_unchecked": said.unchecked,
        "cosignatures": [{"size": s, "witness": one.key.name, "time": one.time} for s, one in said.cosignatures],
        "root": report.root,
        "findings": [finding.as_json() for finding in found],
    }


def words(checked: Checked) -> list[str]:
    """The verdict in lines; the findings first."""
    report, found, said = checked.report, checked.found, checked.said
    lines = [str(finding) for finding in found]
    unsealed = report.events - report.sealed
    what = f"{report.log}: {report.events} events of {report.calls} calls, {report.checkpoints} checkpoints"
    tail = f"; the newest {unsealed} are held by their chain alone, no checkpoint covers them yet" if unsealed else ""
    recordings = f", {len(report.recordings)} recordings" + _compared(checked)
    if found:
        count = "1 finding" if len(found) == 1 else f"{len(found)} findings"
        lines.append(f"DOES NOT HOLD: {count}. {what}{recordings}{tail}")
        return lines
    lines.append(f"HOLDS. {what}{recordings}{tail}")
    lines += _of_anchors(said)
    if checked.older:
        lines.append(f"It extends every checkpoint given ({checked.older}).")
    elif not said.kept:
        lines.append("A cut end shows only against a checkpoint that somebody kept elsewhere: --checkpoint FILE")
    return lines


def _compared(checked: Checked) -> str:
    if not checked.files:
        return " (files not compared)"
    return " (those in the archive not read)" if checked.archive is False else ""


def _of_anchors(said: Anchors) -> list[str]:
    lines = []
    if said.stamps:
        size, newest = max(said.stamps, key=lambda one: one[0])
        lines.append(f"{len(said.stamps)} time stamps hold; {size} events existed at {newest.time:%F %T} UTC.")
    if said.unchecked:
        lines.append(f"{said.unchecked} time stamps were NOT checked: name their root with --tsa-roots FILE")
    if said.cosignatures:
        size = max(size for size, _ in said.cosignatures)
        names = ", ".join(sorted({one.key.name for _, one in said.cosignatures}))
        lines.append(f"{len(said.cosignatures)} cosignatures of {names} hold; the largest is of {size} events.")
    return lines
