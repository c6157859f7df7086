# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr undrain`: a worker or the whole node takes new calls again."""

from pathlib import Path

import click

from ivr.cli.pool_common import CONFIG, asked


@click.command()
@click.argument("what", default="node", metavar="[node|WORKER]")
@CONFIG
def command(what: str, config: Path) -> None:
    """Take new calls again: the node (default) or one worker, such as w3. Prints each worker concerned."""
    for name in asked("undrain", config, {"op": "undrain", "what": what})["workers"]:
        click.echo(name)
