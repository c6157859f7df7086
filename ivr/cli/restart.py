# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr restart`: the workers are replaced one after the other, and no call is ended."""

import time
from pathlib import Path

import click

from ivr.cli.exits import Exit
from ivr.cli.pool_common import CONFIG, asked

LOOK_S = 0.2


@click.command()
@CONFIG
@click.option("--wait", type=float, default=0.0, metavar="SECONDS", help="Wait at most so long until it is done.")
def command(config: Path, wait: float) -> None:
    """Replace the workers one after the other by ones with the code, settings and flows that are on disk now.

    A worker that has calls is replaced when they have ended. What cannot be loaded changes nothing. With --wait, exit
    code 1 says that it was refused or is not done yet; it goes on.
    """
    before = asked("restart", config, {"op": "status"})["status"]["generation"]
    asked("restart", config, {"op": "restart"})
    deadline = time.monotonic() + wait
    while wait:
        status = asked("restart", config, {"op": "status"})["status"]
        rolling = status["rolling"]
        if not rolling["active"] or time.monotonic() > deadline:
            if rolling["error"]:
                click.echo(f"ivr restart: {rolling['error']}", err=True)
            elif rolling["active"]:
                click.echo(f"ivr restart: {rolling['left']} workers are not replaced yet", err=True)
            if rolling["active"] or status["generation"] == before:
                raise click.exceptions.Exit(Exit.CHECK_FAILED)
            return
        time.sleep(LOOK_S)
