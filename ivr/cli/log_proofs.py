# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr log export|consistency|receipt|check-receipt`: proofs for people who have no part of this server."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from ivr.audit.anchors import cosigned_notes
from ivr.audit.consistency import Inconsistent, prove_extension
from ivr.audit.export import ExportRefused, export
from ivr.audit.keys import known_keys
from ivr.audit.receipt import Checked, Receipt, ReceiptError, check_receipt, make_receipt
from ivr.audit.source import CheckpointRow, LogSource
from ivr.cli.exits import Exit
from ivr.cli.log import CouldNotRun, config_option, db_option, json_option, progress, told, what_to_check
from ivr.ledger.cosignature import CosignerKey, cosigners
from ivr.ledger.database import Database
from ivr.ledger.keyring import KeyRing
from ivr.ledger.note import Checkpoint, NoteError, VKey, open_checkpoint
from ivr.node.settings import Settings

_File = click.Path(exists=True, dir_okay=False, path_type=Path)
vkey_option = click.option("--vkey", metavar="KEY", help="Verifier key, or a file with it; needed with --db.")


def not_so(message: str) -> NoReturn:
    """The verdict no: exit code 1."""
    click.echo(message, err=True)
    raise click.exceptions.Exit(Exit.CHECK_FAILED)


@click.command("export")
@click.argument("target", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@config_option
@db_option
@vkey_option
@json_option
def export_command(target: Path, folder: Path, db: Database | None, vkey: str | None, as_json: bool) -> None:
    """Write the log to DIR as C2SP tlog-tiles, for any static web server. It holds no personal data.

    Later runs add what is new. The checkpoint is replaced last, so DIR may be served while this runs.
    """
    with told():
        database, key, _ = what_to_check(folder, db, vkey, None)
        with LogSource(database) as source, progress(0, "exporting") as advance:
            try:
                done = export(source, known_keys(source, key).keys, target, advance)
            except ExportRefused as refused:
                not_so(f"nothing was published: {refused}")
    if as_json:
        click.echo(json.dumps({"before": done.before, "size": done.size, "files": done.files}))
    else:
        click.echo(f"{target}: {done.size} events, {done.size - done.before} of them new, {done.files} files written")


@click.command()
@click.argument("old", type=_File)
@config_option
@db_option
@vkey_option
@click.option("--json", "as_json", is_flag=True, help="The verdict as an object, in place of the proof.")
def consistency(old: Path, folder: Path, db: Database | None, vkey: str | None, as_json: bool) -> None:
    """Does the log, as it is today, extend the checkpoint in OLD that somebody kept?

    Prints the proof as a C2SP witness takes it: with OLD beside it, it can be checked without this program. Exit code 1
    when it does not extend it: the log was cut, or its history was rewritten.
    """
    with told():
        database, key, _ = what_to_check(folder, db, vkey, None)
        with LogSource(database) as source:
            keys = known_keys(source, key).keys
            kept = _opened(old, keys)
            try:
                found = prove_extension(source, kept)
                today = _signed(found.note, keys)
            except (Inconsistent, NoteError) as error:
                if as_json:
                    click.echo(json.dumps({"holds": False, "old": kept.size, "why": str(error)}))
                not_so(f"DOES NOT EXTEND {old}: {error}")
    said = f"EXTENDS. The first {kept.size} of {today.size} events are those that {old} was made of."
    if as_json:
        click.echo(json.dumps({"holds": True, "old": kept.size, "size": today.size, "root": today.root.hex()}))
    else:
        click.echo(found.text(), nl=False)
    click.echo(said, err=True)


@click.command()
@click.argument("event")
@config_option
@db_option
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file in place of stdout.")
def receipt(event: str, folder: Path, db: Database | None, output: Path | None) -> None:
    """A receipt (c2sp.org/tlog-proof@v1) for EVENT, named by its number or id.

    It shows, with the log's verifier key and nothing else, that the event is in the log. Where witnesses have cosigned
    a checkpoint that covers the event, it carries their signatures.
    """
    with told():
        anchors = None if db else Settings.load(folder).storage.anchors
        with LogSource(db or Settings.load(folder).storage.database) as source:
            row = source.event(event)
            if row is None:
                raise CouldNotRun(f"the log holds no event {event!r}; they are listed by: ivr log show")
            try:
                text = make_receipt(source, row, _checkpoint(source, row.seq, anchors)).text()
            except ReceiptError as error:
                raise CouldNotRun(str(error)) from error
        if output is None:
            click.echo(text, nl=False)
        else:
            output.write_text(text, "utf-8")


def _checkpoint(source: LogSource, seq: int, anchors: Path | None) -> CheckpointRow:
    """The newest cosigned checkpoint that covers the event, else the newest of all."""
    for size, note in reversed(cosigned_notes(anchors) if anchors else []):
        if size > seq:
            return CheckpointRow(size, b"", note)
    newest = source.newest_checkpoint()
    if newest is None:
        raise CouldNotRun("this log has no checkpoint: it is not as it was made, run: ivr log verify")
    return newest


@click.command("check-receipt")
@click.argument("file", type=_File)
@click.option("--vkey", "vkeys", multiple=True, required=True, metavar="KEY", help="Verifier key, or a file with it.")
@click.option("--event", "event", metavar="JWS", help="The event's JWS, or a file with it; else the receipt's own.")
@click.option("--witness", "witnesses", multiple=True, metavar="KEY", help="A witness that must have cosigned, too.")
@json_option
def check_receipt_command(
    file: Path, vkeys: Sequence[str], event: str | None, witnesses: Sequence[str], as_json: bool
) -> None:
    """Does the receipt in FILE show that an event is in the log of this key? Needs no network and no log."""
    with told():
        keys = [key for text in vkeys for key in _read_vkeys(text)]
        given = _read_event(event)
        try:
            proof = Receipt.parse(file.read_text("utf-8"))
            checked = check_receipt(proof, keys, given)
            missing = _missing(proof.note, [CosignerKey.parse(text) for text in witnesses])
        except (ReceiptError, UnicodeDecodeError) as error:
            if as_json:
                click.echo(json.dumps({"holds": False, "why": str(error)}))
            not_so(f"DOES NOT HOLD: {error}")
        if missing:
            not_so(f"DOES NOT HOLD: not cosigned by {', '.join(missing)}")
    click.echo(json.dumps(_as_json(checked)) if as_json else _in_words(checked))


def _read_event(text: str | None) -> bytes | None:
    if text is None:
        return None
    path = Path(text)
    raw = path.read_bytes() if len(text) < 256 and path.is_file() else text.encode()
    # An SD-JWT may come with its disclosures; what is in the log is the JWS before them.
    return raw.strip().partition(b"~")[0]


def _read_vkeys(text: str) -> tuple[VKey, ...]:
    path = Path(text)
    return KeyRing.read(path).keys if len(text) < 256 and path.is_file() else (VKey.parse(text),)


def _missing(note: str, witnesses: Sequence[CosignerKey]) -> list[str]:
    signed = {found.key for found in cosigners(note, witnesses)}
    return [key.name for key in witnesses if key not in signed]


def _opened(file: Path, keys: Sequence[VKey]) -> Checkpoint:
    try:
        return _signed(file.read_text("utf-8"), keys)
    except (NoteError, UnicodeDecodeError) as error:
        raise CouldNotRun(f"{file}: {error}") from error


def _signed(note: str, keys: Sequence[VKey]) -> Checkpoint:
    for key in keys[:-1]:
        try:
            return open_checkpoint(note, key)
        except NoteError:
            continue
    return open_checkpoint(note, keys[-1])


def _as_json(checked: Checked) -> dict[str, object]:
    event = checked.event
    return {
        "holds": True,
        "log": checked.checkpoint.origin,
        "index": checked.index,
        "size": checked.checkpoint.size,
        "type": event.type if event else None,
        "time": event.time if event else None,
        "call": event.call if event else None,
        "data": event.data if event else None,
        "event_signature_checked": checked.signed,
        "jws": checked.entry.decode("ascii", "replace"),
    }


def _in_words(checked: Checked) -> str:
    log = checked.checkpoint
    lines = [f"HOLDS. It is number {checked.index} of the {log.size} events of {log.origin}."]
    if checked.event is not None:
        event = checked.event
        lines.append(f"{event.time} {event.type}" + (f", call {event.call}" if event.call else ""))
        if not checked.signed:
            lines.append("Its own signature is of another key than the one given; the tree vouches for it.")
    return "\n".join(lines)
