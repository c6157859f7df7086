# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr pool`: the manager of the workers, as `ivr serve` and systemd start it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import click

from ivr.cli.exits import Exit
from ivr.flow.place import FileError
from ivr.node.edge.control import EdgeControl
from ivr.node.logs import set_up_logs
from ivr.node.pool.edges import NoEdge
from ivr.node.pool.nurseries import NurseryFailed
from ivr.node.pool.running import run_pool
from ivr.node.process import adopt_orphans, run_process
from ivr.node.settings import Settings


@click.command()
@click.option("--config", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="The server's folder.")
def command(config: Path) -> None:
    """Run the workers until SIGTERM, then drain them; SIGHUP replaces them one after the other."""
    try:
        settings = Settings.load(config)
        set_up_logs("pool", settings.log.level, settings.log.format, settings.log.personal)
        adopt_orphans()
        hangup = asyncio.Event()

        async def main(stop: asyncio.Event, on_ready: Callable[[], None]) -> None:
            edge = EdgeControl.of(settings) if settings.pool.edge else NoEdge()
            await run_pool(settings, edge, stop, on_ready, hangup)

        run_process(main, on_hangup=hangup.set)
    except (FileError, NurseryFailed, OSError) as error:
        click.echo(f"ivr pool: {error}", err=True)
        raise click.exceptions.Exit(Exit.COULD_NOT_RUN) from error
