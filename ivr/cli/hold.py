# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr hold`: legal holds. Retention and erasure skip what one covers, and say so."""

import json
from pathlib import Path

import click

from ivr.cli.log import field_opener
from ivr.cli.rights_common import by_person, config_option, json_option, known, ledger, told
from ivr.ledger.query import LogReader
from ivr.node.settings import Settings
from ivr.rights.holds import lift, place
from ivr.rights.view import covered, holds_now


@click.group()
def command() -> None:
    """Place, lift and list legal holds."""


@command.command("place")
@click.option("--call", "calls", multiple=True, metavar="ID", help="A call; any beginning of its id. Repeatable.")
@click.option("--number", metavar="NUMBER", help="A number: all its calls, past and future.")
@click.option("--case", metavar="LABEL", help="The case it is for; holds of one case are lifted together.")
@by_person
def place_command(
    calls: tuple[str, ...], number: str | None, case: str | None, identity: Path, reason: str, folder: Path
) -> None:
    """Place a hold; prints its id. For operators and officers."""
    with told():
        settings = Settings.load(folder)
        who = known(settings, identity)
        with LogReader(settings.storage.database) as log:
            names = [log.find_call(call) for call in calls]
        with ledger(settings, who, "hold") as tool:
            click.echo(place(tool, who, calls=names, number=number, case=case, why=reason))


@command.command("lift")
@click.option("--hold", metavar="ID", help="One hold; any beginning of its id.")
@click.option("--case", metavar="LABEL", help="All holds of this case.")
@by_person
def lift_command(hold: str | None, case: str | None, identity: Path, reason: str, folder: Path) -> None:
    """Lift a hold, or all of a case; prints their ids. For officers."""
    if (hold is None) == (case is None):
        raise click.UsageError("name one of --hold and --case")
    with told():
        settings = Settings.load(folder)
        who = known(settings, identity)
        with ledger(settings, who, "hold") as tool, LogReader(settings.storage.database) as log:
            for one in lift(log, tool, who, hold=hold, case=case, why=reason):
                click.echo(one.id)


@command.command("list")
@config_option
@json_option
def list_command(folder: Path, as_json: bool) -> None:
    """List the holds in force, and how many calls each covers."""
    with told():
        settings = Settings.load(folder)
        with LogReader(settings.storage.database, field_opener(settings)) as log:
            rows = [(hold, sorted(covered(log, [hold])[0])) for hold in holds_now(log).values()]
    for hold, calls in rows:
        if as_json:
            shown = {"hold": hold.id, "case": hold.case, "placed": hold.placed, "number": hold.number, "calls": calls}
            click.echo(json.dumps({**shown, "why": hold.why}))
            continue
        what = f"number {hold.number or '(erased)'}" if not hold.calls else f"{len(hold.calls)} named calls"
        click.echo(f"{hold.id} {hold.placed[:10]} {hold.case or '-':16} {what}: {len(calls)} calls; {hold.why}")
    if not rows and not as_json:
        click.echo("no holds", err=True)
