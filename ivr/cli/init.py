# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr init`: a server's folder, made once."""

from pathlib import Path

import click

from ivr.cli.exits import Exit
from ivr.ledger.database import Postgres
from ivr.ledger.errors import LedgerError
from ivr.node.initialise import InitError, initialise


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--origin", default="assent.invalid/consent-log", show_default=True, help="Name of the log, for ever.")
@click.option(
    "--database",
    metavar="URL",
    help="Keep the log in PostgreSQL: postgresql://user@host/database?schema=name (default: a file in FOLDER).",
)
def command(folder: Path, origin: str, database: str | None) -> None:
    """Create keys (0600), log, vault and example configuration in FOLDER. Refuses to overwrite anything."""
    try:
        made = initialise(folder, origin, Postgres.parse(database) if database else None)
    except (InitError, LedgerError, OSError, ValueError) as error:
        click.echo(f"ivr init: {error}", err=True)
        raise click.exceptions.Exit(Exit.COULD_NOT_RUN) from error
    click.echo(made.vkey)
    click.echo(
        f"{made.folder} is ready. Above is the verifier key of its log: give it to your auditor.\n"
        f"{made.officer} opens every recording: move it to another machine.\n"
        f"Next: look at {made.folder}/server.yaml and flows/, then run: ivr serve --config {made.folder}",
        err=True,
    )
