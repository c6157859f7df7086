# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr recording`: list, show and export recordings. Opening one needs the officer's identity; the server has none."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ivr.cli.exits import Exit
from ivr.cli.rights_common import reason_option
from ivr.flow.place import FileError
from ivr.ledger.database import Database
from ivr.ledger.errors import LedgerError
from ivr.ledger.keyring import KeyRing
from ivr.ledger.note import NoteError
from ivr.ledger.tool import LedgerTool
from ivr.node.archive import vault_of
from ivr.node.settings import Settings
from ivr.rights.announce import announce
from ivr.rights.errors import RightsError
from ivr.rights.identity import identify
from ivr.vault.errors import Damaged, VaultError
from ivr.vault.export import Format, export
from ivr.vault.logged import Finding, Logged, compare, logged
from ivr.vault.open import Contents, Level, OpenRecording
from ivr.vault.store import RecordingStore, StoredRecording

_WIDTH = 130
_Folder = click.Path(exists=True, file_okay=False, path_type=Path)
_File = click.Path(exists=True, dir_okay=False, path_type=Path)
config_option = click.option(
    "--config", "folder", type=_Folder, default=Path(), metavar="DIR", help="The server's folder (default: this one)."
)
json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")


@dataclass(frozen=True, slots=True)
class _Vault:
    """A server's recordings, and what is needed to compare them with its log."""

    store: RecordingStore
    database: Database
    keys: KeyRing

    @classmethod
    def of(cls, folder: Path) -> "_Vault":
        settings = Settings.load(folder)
        return cls(vault_of(settings), settings.storage.database, KeyRing.read(settings.keys.ledger_public))

    def logged(self, recording: str) -> Logged | None:
        return logged(self.database, self.keys, recording)


class _DoesNotHold(click.ClickException):
    exit_code = int(Exit.CHECK_FAILED)


class _CouldNotRun(click.ClickException):
    exit_code = int(Exit.COULD_NOT_RUN)


@contextmanager
def _told() -> Iterator[None]:
    """What goes wrong in the library, as a message and an exit code."""
    try:
        yield
    except Damaged as error:
        raise _DoesNotHold(str(error)) from error
    except (VaultError, FileError, LedgerError, NoteError, RightsError, OSError) as error:
        raise _CouldNotRun(str(error)) from error


@click.group()
def command() -> None:
    """List, show and export recordings.

    An ID may be shortened to any beginning that only one recording has.
    """


@command.command("list")
@config_option
@json_option
def list_(folder: Path, as_json: bool) -> None:
    """List the recordings on disk and in the archive, oldest first. Needs no key, and asks the archive nothing."""
    with _told():
        vault = _Vault.of(folder)
        rows = [_facts(vault, vault.store.stored(call, recording)) for call, recording in vault.store.ids()]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("recording", "call", "length", "segments", "bytes", "key", "ended"):
        table.add_column(name, justify="right" if name in {"length", "segments", "bytes"} else "left", no_wrap=True)
    for row in rows:
        table.add_row(
            row["recording"],
            row["call"],
            _length(row["seconds"]),
            str(row["segments"]),
            str(row["bytes"]),
            "yes" if row["key"] else "gone",
            row["ended"] or "-",
        )
    _console().print(table)


@command.command()
@click.argument("recording_id", metavar="ID")
@click.option("--identity", type=_File, metavar="FILE", help="The officer's age identity: also decode and measure it.")
@click.option("--reason", metavar="TEXT", help="Why it is opened; needed with --identity, and kept in the log.")
@config_option
@json_option
def show(recording_id: str, identity: Path | None, reason: str | None, folder: Path, as_json: bool) -> None:
    """Show one recording, and compare its files with the hashes in the log.

    With --identity it is opened too, which the log keeps with who and why; the ledger has to run for that.
    Exit code 1 when a segment is missing, changed or not in the log, or does not open.
    """
    if identity is not None and not reason:
        raise click.UsageError("--identity opens a recording: say why with --reason")
    with _told():
        vault = _Vault.of(folder)
        stored = vault.store.reread(*vault.store.find(recording_id))
        facts = _facts(vault, stored)
        told = vault.logged(stored.recording)
        findings = [] if told is None else compare(told.segments, stored.segments)
        contents = None if identity is None else _opened(folder, vault, stored, identity, reason or "").contents()
    if as_json:
        click.echo(json.dumps(_as_json(facts, stored, told, findings, contents), indent=2))
    else:
        _print(facts, stored, told, findings, contents)
    if findings:
        click.get_current_context().exit(int(Exit.CHECK_FAILED))


@command.command("export")
@click.argument("recording_id", metavar="ID")
@click.option("--identity", type=_File, metavar="FILE", required=True, help="The officer's age identity.")
@reason_option
@click.option(
    "--format",
    "form",
    type=click.Choice([f.value for f in Format]),
    default="wav",
    show_default=True,
    help="What to write; wav and flac keep every sample.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    required=True,
    help="Where to write it.",
)
@click.option("--force", is_flag=True, help="Replace the output file when it is there.")
@config_option
def export_(recording_id: str, identity: Path, reason: str, form: str, output: Path, force: bool, folder: Path) -> None:
    """Decrypt a recording into an audio file: left the caller, right the agent.

    Before it is opened the log has who did it and why; the ledger has to run.

    The file is readable by you alone (0600), and nobody erases it for you.
    """
    with _told():
        vault = _Vault.of(folder)
        stored = vault.store.stored(*vault.store.find(recording_id))
        told = vault.logged(stored.recording)
        if told is not None and (findings := compare(told.segments, stored.segments)):
            raise Damaged(f"segment {findings[0].segment} is {findings[0].what}", stored.recording, "see `show`")
        opened = _opened(folder, vault, stored, identity, reason, form)
        size = export(opened, Format(form), output, replace=force)
    click.echo(f"{output}: {size} bytes, {form}", err=True)


def _opened(
    folder: Path, vault: _Vault, stored: StoredRecording, identity: Path, reason: str, form: str | None = None
) -> OpenRecording:
    """Nothing is opened before the log says by whom and why."""
    settings = Settings.load(folder)
    who = identify(identity, settings.keys.people)
    with LedgerTool(settings.ledger.socket, "recording", who.signer) as tool:
        announce(tool, who, call=stored.call, recording=stored.recording, why=reason, export=form)
    return OpenRecording(vault.store, stored.call, stored.recording, who.identities)


def _facts(vault: _Vault, stored: StoredRecording) -> dict[str, Any]:
    told = vault.logged(stored.recording)
    return {
        "recording": stored.recording,
        "call": stored.call,
        "rate": told.rate or None if told else None,
        "samples": stored.samples,
        # The rate is sealed in with the audio; without key the log alone knows it.
        "seconds": round(stored.samples / told.rate, 3) if told and told.rate else None,
        "segments": len(stored.segments),
        "bytes": stored.bytes,
        "archived": vault.store.in_archive(stored.call, stored.recording),
        "key": stored.has_key,
        "ended": told.reason if told else None,
    }


def _as_json(
    facts: dict[str, Any],
    stored: StoredRecording,
    told: Logged | None,
    findings: list[Finding],
    contents: Contents | None,
) -> dict[str, Any]:
    bad = {finding.segment: finding.what for finding in findings}
    segments = [{**asdict(fact), "log": None if told is None else bad.get(fact.n, "ok")} for fact in stored.segments]
    return {
        **facts,
        "segments": segments,
        "other_files": list(stored.others),
        "findings": [asdict(finding) for finding in findings],
        "contents": None if contents is None else asdict(contents),
    }


def _print(
    facts: dict[str, Any],
    stored: StoredRecording,
    told: Logged | None,
    findings: list[Finding],
    contents: Contents | None,
) -> None:
    out = _console()
    rate = contents.rate if contents else facts["rate"]
    out.print(f"recording  {stored.recording}\ncall       {stored.call}")
    out.print(f"rate       {rate or 'unknown without --identity'}")
    out.print(f"length     {_length(stored.samples / rate if rate else None)} ({stored.samples} samples)")
    out.print(f"segments   {len(stored.segments)}, {stored.bytes} bytes, sealed{_moved(facts)}")
    out.print(f"key        {'in the key store' if stored.has_key else 'gone: nobody can open this'}")
    if told is None:
        out.print("hashes     not in the log: the call is running, or it was lost")
    elif not findings:
        out.print("hashes     ok: every segment is as the log says")
    for finding in findings:
        out.print(f"hashes     segment {finding.segment}: {finding.what}")
    for name in stored.others:
        out.print(f"stray      {name}")
    if contents:
        for span in contents.spans:
            out.print(
                f"span       {_length(span.samples / contents.rate)} from {_length(span.at_ms / 1000)} of the call"
            )
        out.print(f"caller     {_level(contents.caller)}\nagent      {_level(contents.agent)}")


def _moved(facts: dict[str, Any]) -> str:
    return f"; {facts['archived']} of them in the archive" if facts["archived"] else ""


def _level(level: Level) -> str:
    return "silence" if level.peak_db is None else f"peak {level.peak_db} dBFS, mean {level.rms_db} dBFS"


def _length(seconds: float | None) -> str:
    return "-" if seconds is None else f"{int(seconds // 60)}:{seconds % 60:06.3f}"


def _console() -> Console:
    # An id that was cut to fit a narrow terminal would be of no use; the terminal may wrap the line.
    return Console(highlight=False, soft_wrap=True, width=max(_WIDTH, Console().width))
