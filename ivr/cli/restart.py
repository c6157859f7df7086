# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr restart`: the workers are replaced one after the other, and no call is ended."""

import time
from pathlib import Path

import click

from ivr.cli.exits import Exit
from ivr.cli.pool_common import CONFIG, asked
from ivr.flow.place import FileError
from ivr.node.edge.files import stale
from ivr.node.edge.model import EdgePlan
from ivr.node.load import load
from ivr.node.pool.fixed import HOW, Fixed, differing, fixed, moved
from ivr.node.settings import Settings

LOOK_S = 0.2


@click.command()
@CONFIG
@click.option("--wait", type=float, default=0.0, metavar="SECONDS", help="Wait at most so long until it is done.")
def command(config: Path, wait: float) -> None:
    """Replace the workers one after the other by ones with the code, settings and flows that are on disk now.

    A worker that has calls is replaced when they have ended. What cannot be loaded changes nothing. Settings that need
    a stop and a start, such as pool.max, are named on stderr. With --wait, exit code 1 says that it was refused or is
    not done yet; it goes on.
    """
    status = asked("restart", config, {"op": "status"})["status"]
    before = status["generation"]
    asked("restart", config, {"op": "restart"})
    if not _look_at_settings(config, status.get("settings", {})):
        _look_at_edge(config)  # whose places are the pool's
    deadline = time.monotonic() + wait
    while wait:
        status = asked("restart", config, {"op": "status"})["status"]
        rolling = status["rolling"]
        if not rolling["active"] or time.monotonic() > deadline:
            if rolling["error"]:
                click.echo(f"ivr restart: {rolling['error']}", err=True)
            elif rolling["active"]:
                loading = status["generation"] == before
                left = "what is on disk is still being loaded" if loading else f"workers to replace: {rolling['left']}"
                click.echo(f"ivr restart: not done yet, {left}; it goes on", err=True)
            if rolling["active"] or status["generation"] == before:
                raise click.exceptions.Exit(Exit.CHECK_FAILED)
            return
        time.sleep(LOOK_S)


def _look_at_settings(config: Path, running: Fixed) -> bool:
    """Whether places differ. A manager of an earlier release tells nothing of its settings, and none are compared."""
    try:
        now = fixed(Settings.load(config))
    except FileError:
        return False  # the restart itself says what is wrong with it
    left = differing(running, now)
    what = "refused, nothing changes" if moved(running, now) else "the manager goes on with what it was started with"
    if left:
        click.echo(f"ivr restart: {what}: {', '.join(left)}; to change it: {HOW}", err=True)
    return any(name.startswith(("pool.max ", "pool.sip_port ")) for name in left)


def _look_at_edge(config: Path) -> None:
    """Workers would ring an agent at a new address through an edge that does not know it: said now, not by a caller."""
    try:
        loaded = load(config)
    except FileError:
        return  # the restart itself says what is wrong with it
    if loaded.settings.pool.edge and stale(EdgePlan.of(loaded.settings, loaded.flows)):
        click.echo(
            "ivr restart: the edge was started with other addresses of agents or trunks and refuses calls to new ones "
            "until it starts anew: send SIGHUP to ivr serve, or restart ivr-edge.service",
            err=True,
        )
