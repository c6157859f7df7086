# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr db`: the tables of the log's database, and the way from SQLite to PostgreSQL. The server is stopped for both."""

import json
from pathlib import Path

import click

from ivr.cli.exits import Exit
from ivr.cli.log import CouldNotRun, config_option, json_option, told
from ivr.ledger.copying import copy_log
from ivr.ledger.database import DatabaseError, Postgres
from ivr.ledger.migrate import schema_of, upgrade
from ivr.ledger.schema import SCHEMA_VERSION
from ivr.node.settings import Settings


@click.group()
def command() -> None:
    """Show and upgrade the tables of the log's database; move it from SQLite to PostgreSQL."""


@command.command()
@config_option
@json_option
def status(folder: Path, as_json: bool) -> None:
    """Print where the log is and the schema of its tables. Exit code 1 when this program cannot use them so."""
    with told():
        place = Settings.load(folder).storage.database
        found = schema_of(place)
    if as_json:
        click.echo(json.dumps({"database": str(place), "schema": found, "wanted": SCHEMA_VERSION}))
    else:
        what = "as this program wants it"
        if found < SCHEMA_VERSION:
            what = f"this program wants {SCHEMA_VERSION}: make a backup, stop the server, run: ivr db upgrade"
        elif found > SCHEMA_VERSION:
            what = f"made by a newer program; this one reads {SCHEMA_VERSION}"
        click.echo(f"{place}\nschema {found}: {what}")
    if found != SCHEMA_VERSION:
        raise click.exceptions.Exit(Exit.CHECK_FAILED)


@command.command("upgrade")
@config_option
@json_option
def upgrade_command(folder: Path, as_json: bool) -> None:
    """Bring the tables of an older log up to date: all of it, or, when it is interrupted, nothing.

    The server must be stopped. Events are not touched. There is no way back, so make a backup first.
    """
    with told():
        place = Settings.load(folder).storage.database
        done = upgrade(place)
    if as_json:
        click.echo(json.dumps({"database": str(place), "before": done.before, "after": done.after}))
    elif done.before == done.after:
        click.echo(f"{place}: schema {done.after} already")
    else:
        click.echo(f"{place}: upgraded from schema {done.before} to {done.after}")


@command.command()
@config_option
@click.option("--to", "target", required=True, metavar="URL", help="postgresql://user@host/database?schema=name")
@json_option
def copy(folder: Path, target: str, as_json: bool) -> None:
    """Move the log from its SQLite file into a new schema in PostgreSQL. The server must be stopped.

    Every row is compared, and the tree's root with the signed one; then the file is renamed, so that no ledger goes on
    with it. An interrupted copy is finished by running it again. Afterwards, put URL into server.yaml.
    """
    with told():
        place = Settings.load(folder).storage.database
        if isinstance(place, Postgres):
            raise CouldNotRun(f"the log is in {place}, not in a SQLite file")
        try:
            done = copy_log(place, Postgres.parse(target))
        except DatabaseError as error:
            raise CouldNotRun(str(error)) from error
    if as_json:
        click.echo(json.dumps({"events": done.events, "kept": str(done.kept), "already": done.already}))
        return
    said = "were there already" if done.already else "are the same in both"
    click.echo(f"{done.events} events and all that belongs to them {said}. The file is now {done.kept}")
    click.echo(f"Put this into {folder / 'server.yaml'}:\nstorage:\n  database: {target}", err=True)
