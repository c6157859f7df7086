# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr drain`: a worker or the whole node takes no new calls, and its running ones go on."""

import time
from pathlib import Path

import click

from ivr.cli.drain_words import confirmed, drained, left, settled
from ivr.cli.exits import Exit
from ivr.cli.pool_common import CONFIG, asked

LOOK_S = 0.05
WORD_S = 1.0
"""How long a worker may take to say that it takes no new calls, also without --wait."""


@click.command()
@click.argument("what", default="node", metavar="[node|WORKER]")
@CONFIG
@click.option("--wait", type=float, default=0.0, metavar="SECONDS", help="Wait so long for the last call's end.")
def command(what: str, config: Path, wait: float) -> None:
    """Take no new calls: the node (default) or one worker, such as w3. Running calls go on, however long they last.

    It lasts until `ivr undrain`, or until the server starts anew. Prints each worker that drains and how many calls it
    has left, as `w3 2`, and on stderr what comes next. With --wait, exit code 1 says that some call was still up: the
    drain stays, and the same command waits on.
    """
    names = asked("drain", config, {"op": "drain", "what": what})["workers"]
    began = time.monotonic()
    while True:
        status = asked("drain", config, {"op": "status"})["status"]
        took = time.monotonic() - began
        if settled(names, status) or (took > wait and (confirmed(names, status) or took > WORD_S)):
            break
        time.sleep(LOOK_S)
    for name, calls in left(names, status).items():
        click.echo(f"{name} {calls}")
    for line in drained(what, names, status):
        click.echo(f"ivr drain: {line}", err=True)
    if wait and not settled(names, status):
        raise click.exceptions.Exit(Exit.CHECK_FAILED)
