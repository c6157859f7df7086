# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr subject`: requests of the people who were recorded, from the first letter to the answer."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click

from ivr.cli.all_nodes import again_option, all_nodes_option, ask, say_again, tell
from ivr.cli.exits import Exit
from ivr.cli.rights_common import config_option, identity_option, json_option, known, ledger, told
from ivr.cli.subject_answer import close_command, erase_command, package
from ivr.ledger.ids import uuid7
from ivr.ledger.query import LogReader
from ivr.ledger.reference import read_reference
from ivr.node.settings import Settings
from ivr.rights.errors import AlreadyDone, NotHere, RightsError
from ivr.rights.requests import RequestKind, calls_of, open_request, search
from ivr.rights.view import Request, View, look

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
@all_nodes_option
@identity_option
@config_option
@json_option
def find(
    number: str | None, reference: str | None, all_nodes: bool, identity: Path, folder: Path, as_json: bool
) -> None:
    """Find the calls of a number or a reference code. Each try of a code is logged; wrong ones are limited."""
    _one_of(number, reference)

    def found(settings: Settings) -> _Found:
        who = known(settings, identity)
        with ledger(settings, who, "subject") as tool:
            matches = search(tool, who, number=number, reference=reference)
        with LogReader(settings.storage.database) as log:
            view = look(log)
        events = {match.seq for match in matches}
        requests = [request for request in view.requests.values() if request.opened.seq in events]
        return _Found([_row(view, name) for name in calls_of(matches)], requests)

    if all_nodes:
        # A code is of one call: asking on would count as a try in vain on every node after it.
        asked = ask(folder, lambda node: found(node.settings), lambda one: reference is not None and bool(one.calls))
        tell(asked, as_json, lambda one: one.lines() or ["no call is known"], _Found.as_json)
        return
    with told():
        answer = found(Settings.load(folder))
    if as_json:
        click.echo(json.dumps(answer.as_json()))
        return
    for line in answer.lines():
        click.echo(line)
    if not answer.calls:
        click.echo("no call is known", err=True)


@dataclass(frozen=True, slots=True)
class _Found:
    """What one log has of somebody."""

    calls: list[dict[str, Any]]
    requests: list[Request]

    def as_json(self) -> dict[str, Any]:
        return {"calls": self.calls, "requests": [request.id for request in self.requests]}

    def lines(self) -> list[str]:
        calls = [f"{c['call']} {str(c['received'])[:19]}Z {len(c['recordings'])} recordings" for c in self.calls]
        return calls + [f"request {one.id}: {one.kind}, due {one.due}" for one in self.requests]


def _one_of(number: str | None, reference: str | None) -> None:
    """Before any node is asked: a mistyped code is the same mistake on all of them."""
    with told():
        if (number is None) == (reference is None):
            raise RightsError("name one of --number and --reference")
        if reference is not None:
            read_reference(reference)


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
@again_option
@all_nodes_option
@identity_option
@config_option
@json_option
def open_command(
    number: str | None,
    reference: str | None,
    kind: str,
    received: str | None,
    again: str | None,
    all_nodes: bool,
    identity: Path,
    folder: Path,
    as_json: bool,
) -> None:
    """Take a request in; prints its id and the last day to answer it. For operators and officers."""
    _one_of(number, reference)
    today = datetime.now(UTC).date()
    day, name = _day(received) if received else today, again or uuid7()

    def taken_in(settings: Settings) -> _Opened:
        who = known(settings, identity)
        with LogReader(settings.storage.database) as log:
            if name in look(log).requests:
                raise AlreadyDone(f"request {name} is open here")
        with ledger(settings, who, "subject") as tool:
            calls = calls_of(search(tool, who, number=number, reference=reference))
            if reference is not None and not calls:
                raise NotHere("no call has this reference code")
            request, due = open_request(
                tool, who, RequestKind(kind), number=number, calls=calls, received=day, today=today, request=name
            )
        return _Opened(request, due, calls)

    if all_nodes:
        asked = ask(folder, lambda node: taken_in(node.settings), lambda _one: reference is not None)
        say_again(asked, name)
        tell(asked, as_json, lambda one: [one.line()], _Opened.as_json)
        return
    with told():
        opened = taken_in(Settings.load(folder))
    click.echo(json.dumps(opened.as_json()) if as_json else opened.line())


@dataclass(frozen=True, slots=True)
class _Opened:
    """A request that was taken in."""

    request: str
    due: date
    calls: list[str]

    def as_json(self) -> dict[str, Any]:
        return {"request": self.request, "due": self.due.isoformat(), "calls": self.calls}

    def line(self) -> str:
        return f"{self.request} due {self.due}, {len(self.calls)} calls"


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no day: YYYY-MM-DD") from None


@command.command("list")
@click.option("--all", "everything", is_flag=True, help="Closed ones too.")
@all_nodes_option
@config_option
@json_option
def list_command(everything: bool, all_nodes: bool, folder: Path, as_json: bool) -> None:
    """List open requests, soonest due first. Exit code 1 when one is overdue."""
    today = datetime.now(UTC).date()

    def shown(settings: Settings) -> list[Request]:
        with LogReader(settings.storage.database) as log:
            requests = look(log).requests.values()
        return sorted((one for one in requests if everything or one.closed is None), key=lambda one: one.due)

    def late(requests: Sequence[Request]) -> bool:
        return any(one.overdue(today) for one in requests)

    if all_nodes:
        asked = ask(folder, lambda node: shown(node.settings))
        tell(asked, as_json, lambda r: [_line(o, today) for o in r], lambda r: [_as_json(o, today) for o in r], late)
        return
    with told():
        requests = shown(Settings.load(folder))
    for one in requests:
        click.echo(json.dumps(_as_json(one, today)) if as_json else _line(one, today))
    if late(requests):
        count = sum(one.overdue(today) for one in requests)
        click.echo(f"{count} OVERDUE: the law gives one month (GDPR Art. 12(3))", err=True)
        raise click.exceptions.Exit(Exit.CHECK_FAILED)


def _line(one: Request, today: date) -> str:
    left = (one.due - today).days
    state = "closed" if one.closed else f"OVERDUE by {-left} days" if one.overdue(today) else f"{left} days left"
    return f"{one.id} {one.kind:10} received {one.received} due {one.due}: {state}"


def _as_json(one: Request, today: date) -> dict[str, Any]:
    row = {"request": one.id, "kind": one.kind, "received": str(one.received), "due": str(one.due)}
    return {**row, "closed": one.closed is not None, "overdue": one.overdue(today)}


for added in (package, erase_command, close_command):
    command.add_command(added)
