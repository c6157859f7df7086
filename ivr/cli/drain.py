# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr drain`: a worker or the whole node takes no new calls, and its running ones go on."""

import time
from pathlib import Path

import click

from ivr.cli.exits import Exit
from ivr.cli.pool_common import CONFIG, asked

LOOK_S = 0.2


@click.command()
@click.argument("what", default="node", metavar="[node|WORKER]")
@CONFIG
@click.option("--wait", type=float, default=0.0, metavar="SECONDS", help="Wait so long for the last call's end.")
def command(what: str, config: Path, wait: float) -> None:
    """Take no new calls: the node (default) or one worker, such as w3. Running calls go on, however long they last.

    It lasts until `ivr undrain`, or until the server starts anew. Prints each worker that drains with its calls. With
    --wait, exit code 1 says that some call was still up.
    """
    names = asked("drain", config, {"op": "drain", "what": what})["workers"]
    deadline = time.monotonic() + wait
    while True:
        workers = asked("drain", config, {"op": "status"})["status"]["workers"]
        left = {w["name"]: len(w["calls"]) for w in workers if w["name"] in names}
        if not wait or not any(left.values()) or time.monotonic() > deadline:
            break
        time.sleep(LOOK_S)
    for name, calls in left.items():
        click.echo(f"{name} {calls}")
    if wait and any(left.values()):
        raise click.exceptions.Exit(Exit.CHECK_FAILED)
