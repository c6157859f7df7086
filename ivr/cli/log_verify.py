# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr log verify`: the whole log, or an exported folder of it, with the public key alone."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ivr.audit.anchors import Anchors, read_anchors
from ivr.audit.checkpoints import Kept
from ivr.audit.files import check_files
from ivr.audit.findings import Finding
from ivr.audit.keys import Source
from ivr.audit.source import LogSource
from ivr.audit.tiles import TileFolder
from ivr.audit.verify import Report, verify_log
from ivr.cli.exits import Exit
from ivr.cli.log import (
    CouldNotRun,
    config_option,
    db_option,
    field_opener,
    json_option,
    progress,
    read_vkey,
    told,
    what_to_check,
)
from ivr.ledger.cosignature import CosignerKey
from ivr.ledger.note import VKey
from ivr.ledger.timestamp import StampError, load_roots
from ivr.node.settings import Settings

_Folder = click.Path(exists=True, file_okay=False, path_type=Path)
_File = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class _Outside:
    """What to compare the log with that did not come out of its database."""

    kept: Sequence[Path]
    anchors: Path | None
    roots: Sequence[Path]
    witnesses: Sequence[str]

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


@click.command()
@config_option
@db_option
@click.option("--tiles", type=_Folder, help="A folder made by `ivr log export`, in place of a database.")
@click.option("--vkey", metavar="KEY", help="Verifier key, or a file with it; needed with --db and --tiles.")
@click.option(
    "--checkpoint", "kept", type=_File, multiple=True, help="A checkpoint kept outside, which the log must extend."
)
@click.option("--anchors", type=_Folder, help="Folder of time stamps and cosignatures (default: the server's).")
@click.option("--tsa-roots", "roots", type=_File, multiple=True, help="Root certificates of time stamps (PEM).")
@click.option("--witness", "witnesses", multiple=True, metavar="KEY", help="Verifier key of a witness.")
@click.option("--recordings", type=_Folder, help="Folder of recordings to compare (default: the server's).")
@json_option
def verify(
    folder: Path,
    db: Path | None,
    tiles: Path | None,
    vkey: str | None,
    kept: Sequence[Path],
    anchors: Path | None,
    roots: Sequence[Path],
    witnesses: Sequence[str],
    recordings: Path | None,
    as_json: bool,
) -> None:
    """Is every event signed, in its place, chained, and in the tree that the checkpoints name? Do the files match?

    Each thing that does not hold is one line that names its call, event and place. Exit code 0: all holds, 1: something
    does not, 2: could not run.
    """
    with told():
        outside = _Outside(kept, anchors, roots, witnesses)
        said = outside.read(None if db or tiles else folder)
        source, key, files = _opened(folder, db, tiles, vkey, recordings)
        older = [Kept(path.read_text("utf-8"), str(path)) for path in kept]
        with source, progress(source.events) as advance:
            report = verify_log(source, key, [*older, *said.kept], advance)
        found = [*report.findings, *said.findings]
        found += check_files(files, report.recordings) if files else []
    click.echo(
        json.dumps(_as_json(report, found, said, files)) if as_json else _words(report, found, older, said, files)
    )
    if found:
        raise click.exceptions.Exit(Exit.CHECK_FAILED)


def _opened(
    folder: Path, db: Path | None, tiles: Path | None, vkey: str | None, recordings: Path | None
) -> tuple[Source, VKey, Path | None]:
    if tiles is None:
        database, key, files = what_to_check(folder, db, vkey, recordings)
        # Sealed personal fields are checked too where this user may open them; elsewhere only their place is.
        opener = field_opener(Settings.load(folder)) if db is None else None
        return LogSource(database, opener), key, files
    if vkey is None:
        raise CouldNotRun("--tiles needs --vkey: the key that you were given, not one that came with the folder")
    return TileFolder(tiles), read_vkey(vkey), recordings


def _as_json(report: Report, found: Sequence[Finding], said: Anchors, files: Path | None) -> dict[str, Any]:
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
        "files_checked": files is not None,
        "time_stamps": [{"size": size, "time": stamp.time.isoformat()} for size, stamp in said.stamps],
        "time_stamps_unchecked": said.unchecked,
        "cosignatures": [{"size": s, "witness": one.key.name, "time": one.time} for s, one in said.cosignatures],
        "root": report.root,
        "findings": [finding.as_json() for finding in found],
    }


def _words(report: Report, found: Sequence[Finding], older: Sequence[Kept], said: Anchors, files: Path | None) -> str:
    lines = [str(finding) for finding in found]
    unsealed = report.events - report.sealed
    what = f"{report.log}: {report.events} events of {report.calls} calls, {report.checkpoints} checkpoints"
    tail = f"; the newest {unsealed} are held by their chain alone, no checkpoint covers them yet" if unsealed else ""
    recordings = f", {len(report.recordings)} recordings" + ("" if files else " (files not compared)")
    if found:
        count = "1 finding" if len(found) == 1 else f"{len(found)} findings"
        lines.append(f"DOES NOT HOLD: {count}. {what}{recordings}{tail}")
        return "\n".join(lines)
    lines.append(f"HOLDS. {what}{recordings}{tail}")
    lines += _of_anchors(said)
    if older:
        lines.append(f"It extends every checkpoint given ({len(older)}).")
    elif not said.kept:
        lines.append("A cut end shows only against a checkpoint that somebody kept elsewhere: --checkpoint FILE")
    return "\n".join(lines)


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
