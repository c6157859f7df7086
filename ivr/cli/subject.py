# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr subject`: requests of the people who were recorded, from the first letter to the answer."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click

from ivr.audit.receipt import make_receipt
from ivr.audit.source import LogSource
from ivr.cli.erase import show
from ivr.cli.exits import Exit
from ivr.cli.log import field_opener
from ivr.cli.retention import clocks
from ivr.cli.rights_common import by_person, config_option, identity_option, json_option, known, ledger, told
from ivr.flow.library import Library
from ivr.ledger.note import VKey
from ivr.ledger.query import LogReader
from ivr.node.settings import Settings
from ivr.rights.erase import erase, of_calls, of_subject
from ivr.rights.errors import RightsError
from ivr.rights.letter import Facts
from ivr.rights.package import FORMATS, gather, write_package
from ivr.rights.requests import (
    Outcome,
    RequestKind,
    calls_of,
    close_request,
    find_request,
    open_request,
    search,
)
from ivr.rights.texts import LANGUAGES, load_texts
from ivr.rights.view import Request, View, look
from ivr.vault.store import RecordingStore

_NewFile = click.Path(dir_okay=False, path_type=Path)
_Kind = click.Choice([kind.value for kind in RequestKind])
number_option = click.option("--number", metavar="NUMBER", help="Their number, in any common way of writing it.")
reference_option = click.option("--reference", metavar="CODE", help="The reference code that they were told.")


@click.group()
def command() -> None:
    """Find, take in, answer and close people's requests.

    Every request has a last day, one month after it came in; `list` shows it, and shouts when it is over.
    """


@command.command()
@number_option
@reference_option
@identity_option
@config_option
@json_option
def find(number: str | None, reference: str | None, identity: Path, folder: Path, as_json: bool) -> None:
    """Find the calls of a number or a reference code. Each try of a code is logged; wrong ones are limited."""
    with told():
        settings = Settings.load(folder)
        who = known(settings, identity)
        with ledger(settings, who, "subject") as tool:
            matches = search(tool, who, number=number, reference=reference)
        with LogReader(settings.storage.database) as log:
            view = look(log)
    rows = [_row(view, name) for name in calls_of(matches)]
    requests = [request for request in view.requests.values() if request.opened.seq in {m.seq for m in matches}]
    if as_json:
        click.echo(json.dumps({"calls": rows, "requests": [request.id for request in requests]}))
        return
    for row in rows:
        click.echo(f"{row['call']} {str(row['received'])[:19]}Z {len(row['recordings'])} recordings")
    for request in requests:
        click.echo(f"request {request.id}: {request.kind}, due {request.due}")
    if not rows:
        click.echo("no call is known", err=True)


def _row(view: View, name: str) -> dict[str, Any]:
    call = view.calls.get(name)
    kept = [one.id for one in call.recordings if one.erased is None] if call else []
    return {"call": name, "received": call.received.time if call else None, "recordings": kept}


@command.command("open")
@number_option
@reference_option
@click.option(
    "--kind",
    type=click.Choice([k.value for k in RequestKind]),
    default="access",
    show_default=True,
    help="What they ask for.",
)
@click.option("--received", metavar="YYYY-MM-DD", help="Day it was received (default: today, UTC).")
@identity_option
@config_option
@json_option
def open_command(
    number: str | None,
    reference: str | None,
    kind: str,
    received: str | None,
    identity: Path,
    folder: Path,
    as_json: bool,
) -> None:
    """Take a request in; prints its id and the last day to answer it. For operators and officers."""
    with told():
        settings = Settings.load(folder)
        who = known(settings, identity)
        today = datetime.now(UTC).date()
        with ledger(settings, who, "subject") as tool:
            calls = calls_of(search(tool, who, number=number, reference=reference))
            if reference is not None and not calls:
                raise RightsError("no call has this reference code")
            day = _day(received) if received else today
            request, due = open_request(
                tool, who, RequestKind(kind), number=number, calls=calls, received=day, today=today
            )
    if as_json:
        click.echo(json.dumps({"request": request, "due": due.isoformat(), "calls": calls}))
    else:
        click.echo(f"{request} due {due}, {len(calls)} calls")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no day: YYYY-MM-DD") from None


@command.command("list")
@click.option("--all", "everything", is_flag=True, help="Closed ones too.")
@config_option
@json_option
def list_command(everything: bool, folder: Path, as_json: bool) -> None:
    """List open requests, soonest due first. Exit code 1 when one is overdue."""
    with told():
        settings = Settings.load(folder)
        with LogReader(settings.storage.database) as log:
            view = look(log)
    today = datetime.now(UTC).date()
    shown = [one for one in view.requests.values() if everything or one.closed is None]
    for one in sorted(shown, key=lambda request: request.due):
        left = (one.due - today).days
        state = "closed" if one.closed else f"OVERDUE by {-left} days" if one.overdue(today) else f"{left} days left"
        if as_json:
            row = {"request": one.id, "kind": one.kind, "received": str(one.received), "due": str(one.due)}
            click.echo(json.dumps({**row, "closed": one.closed is not None, "overdue": one.overdue(today)}))
        else:
            click.echo(f"{one.id} {one.kind:10} received {one.received} due {one.due}: {state}")
    late = [one for one in shown if one.overdue(today)]
    if late:
        click.echo(f"{len(late)} OVERDUE: the law gives one month (GDPR Art. 12(3))", err=True)
        raise click.exceptions.Exit(Exit.CHECK_FAILED)


@command.command()
@click.argument("request_id", metavar="REQUEST")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", required=True, help="The zip."
)
@click.option("--format", "form", type=click.Choice(FORMATS), default="flac", show_default=True, help="Of the audio.")
@click.option("--language", type=click.Choice(LANGUAGES), default="en", show_default=True, help="Of the letter.")
@by_person
def package(request_id: str, output: Path, form: str, language: str, identity: Path, reason: str, folder: Path) -> None:
    """Put together what is kept about a person: one zip (0600) with a letter, recordings, events and receipts.

    For officers: their identity opens the recordings. The log says so before any of them is opened.
    """
    with told():
        settings = Settings.load(folder)
        who = known(settings, identity)
        store = RecordingStore(settings.storage.recordings, settings.storage.keystore, None)
        with (
            ledger(settings, who, "package") as tool,
            LogReader(settings.storage.database, field_opener(settings)) as log,
            LogSource(settings.storage.database) as source,
        ):
            view = look(log)
            request = find_request(view, request_id)
            if request.subject is None and not request.calls:
                raise RightsError(f"request {request.id} names nobody any more: its number was erased")
            number = request.subject
            matches = search(tool, who, number=number, reference=None) if number is not None else []
            size = write_package(
                output,
                gather(log, view, request, matches),
                _facts(settings, request, language),
                log=log,
                view=view,
                store=store,
                tool=tool,
                known=who,
                form=form,
                why=reason,
                receipts=lambda seq: _receipt(source, seq),
                clocks=clocks(settings),
            )
    click.echo(f"{output}: {size} bytes", err=True)


def _facts(settings: Settings, request: Request, language: str) -> Facts:
    own_texts = [settings.prompts.folder] if settings.prompts.folder else []
    vkey = VKey.read(settings.keys.ledger_public)
    today = datetime.now(UTC).date()
    return Facts(load_texts(language), Library.load(*own_texts), request, today, clocks(settings), str(vkey))


def _receipt(source: LogSource, seq: int) -> str | None:
    """The receipt of an event; None while no checkpoint covers it."""
    row, checkpoint = source.event(str(seq)), source.newest_checkpoint()
    if row is None or checkpoint is None or row.seq >= checkpoint.size:
        return None
    return make_receipt(source, row, checkpoint).text()


@command.command("erase")
@click.argument("request_id", metavar="REQUEST")
@by_person
@json_option
def erase_command(request_id: str, identity: Path, reason: str, folder: Path, as_json: bool) -> None:
    """Erase what a request is about, and print a receipt. For officers. The request stays open until it is closed."""
    with told():
        settings = Settings.load(folder)
        who = known(settings, identity)
        store = RecordingStore(settings.storage.recordings, settings.storage.keystore, None)
        with (
            ledger(settings, who, "erase") as tool,
            LogReader(settings.storage.database, field_opener(settings)) as log,
        ):
            view = look(log)
            request = find_request(view, request_id)
            if request.subject is not None:
                matches = search(tool, who, number=request.subject, reference=None)
                target = of_subject(view, request.subject, matches)
            elif request.calls:
                target = of_calls(log, view, request.calls, "call")
            else:
                raise RightsError(f"request {request.id} names nobody any more: its number was erased")
            receipt = erase(log, store, tool, who, target, why=reason, now=datetime.now(UTC), request=request.id)
    show(receipt, as_json)


@command.command("close")
@click.argument("request_id", metavar="REQUEST")
@click.option("--outcome", type=click.Choice([o.value for o in Outcome]), required=True, help="How it was answered.")
@by_person
def close_command(request_id: str, outcome: str, identity: Path, reason: str, folder: Path) -> None:
    """Close a request. For officers."""
    with told():
        settings = Settings.load(folder)
        who = known(settings, identity)
        today = datetime.now(UTC).date()
        with ledger(settings, who, "subject") as tool, LogReader(settings.storage.database) as log:
            request = close_request(log, tool, who, request_id, Outcome(outcome), why=reason, today=today)
    late = f", {(today - request.due).days} days late" if today > request.due else ""
    click.echo(f"{request.id} closed: {outcome}{late}")
