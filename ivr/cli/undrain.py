# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr undrain`: a worker or the whole node takes new calls again."""

from pathlib import Path

import click

from ivr.cli.drain_words import undrained
from ivr.cli.pool_common import CONFIG, asked


@click.command()
@click.argument("what", default="node", metavar="[node|WORKER]")
@CONFIG
def command(what: str, config: Path) -> None:
    """Take new calls again: the node (default) or one worker, such as w3.

    Prints each worker concerned, and on stderr what is drained still.
    """
    names = asked("undrain", config, {"op": "undrain", "what": what})["workers"]
    status = asked("undrain", config, {"op": "status"})["status"]
    for name in names:
        click.echo(name)
    for line in undrained(what, names, status):
        click.echo(f"ivr undrain: {line}", err=True)
