# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr access`: who is operator, auditor or officer, and what each may do."""

import json
from pathlib import Path

import click

from ivr.cli.exits import Exit
from ivr.cli.rights_common import config_option, json_option, told
from ivr.ledger.people import GRANTS, Role, load_people
from ivr.node.settings import Settings
from ivr.rights.identity import add_person, remove_person, strange_recipients


@click.group()
def command() -> None:
    """Show and change who may do what."""


@command.command("list")
@config_option
@json_option
def list_(folder: Path, as_json: bool) -> None:
    """List the people, their roles and keys. Exit code 1 when a key that is no officer's can open recordings."""
    with told():
        settings = Settings.load(folder)
        people = load_people(settings.keys.people)
        strange = strange_recipients(settings.keys.people, settings.keys.recipients)
    if as_json:
        rows = [{"name": p.name, "role": p.role, "vkey": str(p.vkey), "recipient": p.recipient} for p in people]
        click.echo(json.dumps({"people": rows, "strange_recipients": strange}))
    else:
        for person in people:
            click.echo(f"{person.role:9} {person.name:20} {person.recipient}")
        for key in strange:
            click.echo(f"NOBODY'S  can open recordings: {key}")
    if strange:
        raise click.exceptions.Exit(Exit.CHECK_FAILED)


@command.command()
@click.argument("name")
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True, help="What they are.")
@click.option(
    "--identity",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    required=True,
    help="Their age identity; made (0600) when it is not there.",
)
@config_option
def add(name: str, role: str, identity: Path, folder: Path) -> None:
    """Add somebody. An officer opens recordings only once their recipient is in recipients.txt as well."""
    with told():
        settings = Settings.load(folder)
        person = add_person(settings.keys.people, name, Role(role), identity)
    click.echo(person.recipient)
    if person.role is Role.OFFICER:
        where = settings.keys.recipients
        click.echo(f"to open recordings made from now on, add this recipient to {where}", err=True)


@command.command()
@click.argument("name")
@config_option
def remove(name: str, folder: Path) -> None:
    """Take somebody out; the ledger refuses their signature from now on."""
    with told():
        settings = Settings.load(folder)
        gone = remove_person(settings.keys.people, name)
    if gone.role is Role.OFFICER:
        click.echo(f"take {gone.recipient} out of {settings.keys.recipients} too", err=True)


@command.command()
def roles() -> None:
    """Show what each role may do. The ledger enforces it."""
    for role in Role:
        may = sorted(kind for kind, granted in GRANTS.items() if role in granted)
        click.echo(f"{role:9} {', '.join(may) or 'nothing that changes or opens anything'}")
