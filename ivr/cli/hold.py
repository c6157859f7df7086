# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr hold`: legal holds. Retention and erasure skip what one covers, and say so."""

import json
from pathlib import Path
from typing import Any

import click

from ivr.cli.all_nodes import again_option, all_nodes_option, ask, say_again, tell, whole_id
from ivr.cli.log import field_opener
from ivr.cli.rights_common import by_person, config_option, json_option, known, ledger, told
from ivr.ledger.ids import uuid7
from ivr.ledger.query import LogReader
from ivr.node.settings import Settings
from ivr.rights.errors import AlreadyDone
from ivr.rights.holds import lift, place
from ivr.rights.view import Hold, covered, holds_now


@click.group()
def command() -> None:
    """Place, lift and list legal holds."""


@command.command("place")
@click.option("--call", "calls", multiple=True, metavar="ID", help="A call; a beginning or end of its id. Repeatable.")
@click.option("--number", metavar="NUMBER", help="A number: all its calls, past and future.")
@click.option("--case", metavar="LABEL", help="The case it is for; holds of one case are lifted together.")
@again_option
@all_nodes_option
@by_person
def place_command(
    calls: tuple[str, ...],
    number: str | None,
    case: str | None,
    again: str | None,
    all_nodes: bool,
    identity: Path,
    reason: str,
    folder: Path,
) -> None:
    """Place a hold; prints its id. For operators and officers."""
    if all_nodes and calls:
        raise click.UsageError("a call is in one log: name that node's folder by --config; --all-nodes is for --number")
    hold = again or uuid7()

    def placed(settings: Settings) -> str:
        who = known(settings, identity)
        with LogReader(settings.storage.database) as log:
            names = [log.find_call(call) for call in calls]
            if hold in holds_now(log):
                raise AlreadyDone(f"hold {hold} is in force")
        with ledger(settings, who, "hold") as tool:
            return place(tool, who, calls=names, number=number, case=case, why=reason, hold=hold)

    if all_nodes:
        asked = ask(folder, lambda node: placed(node.settings))
        say_again(asked, hold)
        tell(asked, False, lambda one: [one], str)
        return
    with told():
        click.echo(placed(Settings.load(folder)))


@command.command("lift")
@click.option("--hold", metavar="ID", help="One hold; any beginning of its id.")
@click.option("--case", metavar="LABEL", help="All holds of this case.")
@all_nodes_option
@by_person
def lift_command(
    hold: str | None, case: str | None, all_nodes: bool, identity: Path, reason: str, folder: Path
) -> None:
    """Lift a hold, or all of a case; prints their ids. For officers."""
    if (hold is None) == (case is None):
        raise click.UsageError("name one of --hold and --case")

    def lifted(settings: Settings) -> list[str]:
        who = known(settings, identity)
        with ledger(settings, who, "hold") as tool, LogReader(settings.storage.database) as log:
            return [one.id for one in lift(log, tool, who, hold=hold, case=case, why=reason)]

    if all_nodes:
        if hold is not None:
            whole_id(hold)
        tell(ask(folder, lambda node: lifted(node.settings)), False, lambda names: names, list)
        return
    with told():
        for name in lifted(Settings.load(folder)):
            click.echo(name)


_Row = tuple[Hold, list[str]]


@command.command("list")
@all_nodes_option
@config_option
@json_option
def list_command(all_nodes: bool, folder: Path, as_json: bool) -> None:
    """List the holds in force, and how many calls each covers."""

    def held(settings: Settings) -> list[_Row]:
        with LogReader(settings.storage.database, field_opener(settings)) as log:
            return [(hold, sorted(covered(log, [hold])[0])) for hold in holds_now(log).values()]

    if all_nodes:
        asked = ask(folder, lambda node: held(node.settings))
        tell(asked, as_json, lambda rows: list(map(_line, rows)), lambda rows: list(map(_as_json, rows)))
        return
    with told():
        rows = held(Settings.load(folder))
    for row in rows:
        click.echo(json.dumps(_as_json(row)) if as_json else _line(row))
    if not rows and not as_json:
        click.echo("no holds", err=True)


def _as_json(row: _Row) -> dict[str, Any]:
    hold, calls = row
    shown = {"hold": hold.id, "case": hold.case, "placed": hold.placed, "number": hold.number, "calls": calls}
    return {**shown, "why": hold.why}


def _line(row: _Row) -> str:
    hold, calls = row
    what = f"number {hold.number or '(erased)'}" if not hold.calls else f"{len(hold.calls)} named calls"
    return f"{hold.id} {hold.placed[:10]} {hold.case or '-':16} {what}: {len(calls)} calls; {hold.why}"
