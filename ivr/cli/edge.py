# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr edge`: the SIP proxy before the workers."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from ivr import __version__
from ivr.cli.exits import Exit
from ivr.flow.place import FileError
from ivr.node.edge.check import check
from ivr.node.edge.control import EdgeControl, EdgeStatus, PlaceState
from ivr.node.edge.files import write_all, write_certificates
from ivr.node.edge.model import EdgePlan
from ivr.node.edge.render import CFG, render
from ivr.node.edge.rpc import EdgeRefused, EdgeUnavailable
from ivr.node.edge.run import EdgeError, owner_of, run_edge
from ivr.node.edge.status import as_json, tables
from ivr.node.edge.tlsfiles import TlsFileError
from ivr.node.load import load
from ivr.node.observe.frontmetrics import edge_text
from ivr.node.observe.gather import certificate_until
from ivr.node.observe.snapshot import Snapshot
from ivr.node.settings import Settings

_ERRORS = (FileError, EdgeError, EdgeUnavailable, EdgeRefused, TlsFileError, OSError)
_folder = click.option(
    "--config", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="The server's folder."
)
RELOAD_S = 10.0
"""Reading certificates takes Kamailio longer than any other command."""


@click.group()
def command() -> None:
    """Configure, check, run and look at the SIP proxy (Kamailio) before the workers or nodes."""


def _guarded(name: str, run: Callable[[], Any]) -> Any:
    try:
        return run()
    except _ERRORS as error:
        click.echo(f"ivr edge {name}: {error}", err=True)
        raise click.exceptions.Exit(Exit.COULD_NOT_RUN) from error


def _plan(config: Path) -> EdgePlan:
    settings = Settings.load(config)
    if settings.edge.nodes:  # a front edge: its nodes have the flows
        return EdgePlan.of(settings)
    return EdgePlan.of(settings, load(config).flows)


@command.command("config")
@_folder
@click.option("--write", is_flag=True, help="Write all files to run/edge instead of printing one.")
@click.option("--file", "name", default=CFG, show_default=True, help="Which of the generated files to print.")
def config_command(config: Path, write: bool, name: str) -> None:
    """Print the generated Kamailio configuration, or write it."""

    def run() -> None:
        plan = _plan(config)
        if write:
            write_all(plan, owner_of(plan))
            click.echo(f"written to {plan.folder}", err=True)
            return
        made = render(plan)
        if name not in made:
            raise click.BadParameter(f"one of {', '.join(made)}", param_hint="--file")
        click.echo(made[name], nl=False)

    _guarded("config", run)


@command.command("check")
@_folder
def check_command(config: Path) -> None:
    """Check settings, flows, certificates and the generated configuration, by our rules and by Kamailio's."""
    found = _guarded("check", lambda: check(_plan(config)))
    for finding in found:
        click.echo(str(finding))
    if found:
        raise click.exceptions.Exit(Exit.CHECK_FAILED)
    click.echo("the edge's configuration holds", err=True)


@command.command("run")
@_folder
def run_command(config: Path) -> None:
    """Write the configuration and become Kamailio, in the foreground and unprivileged, until SIGTERM."""
    _guarded("run", lambda: run_edge(_plan(config)))


@command.command("status")
@_folder
@click.option("--all", "all_places", is_flag=True, help="Show places without a worker too.")
@click.option("--json", "as_data", is_flag=True, help="JSON, for programs; every place and every counter.")
@click.option("--quiet", is_flag=True, help="Print nothing on stdout: the exit code says whether calls are taken.")
@click.option("--prometheus", "as_gauges", is_flag=True, help="Metrics in Prometheus's text format.")
def status_command(config: Path, all_places: bool, as_data: bool, quiet: bool, as_gauges: bool) -> None:
    """Show workers or nodes with their states and calls, the hosts of trunks, and the counters.

    Exit code 0 when the edge answers, 2 when it does not. With --quiet also 1: it answers, and no worker or node takes
    calls. With --prometheus the metrics are the verdict: exit code 0 for any.
    """
    if quiet + as_gauges + as_data > 1:
        raise click.UsageError("--quiet, --prometheus and --json: choose one")
    if as_gauges:
        click.echo(_guarded("status", lambda: _gauges(config)), nl=False)
        return
    status = _guarded("status", lambda: asyncio.run(_ask(Settings.load(config))))
    if quiet:
        if not any(place.state is PlaceState.ACTIVE for place in status.places):
            click.echo("ivr edge status: no worker or node takes calls", err=True)
            raise click.exceptions.Exit(Exit.CHECK_FAILED)
        return
    if as_data:
        click.echo(json.dumps(as_json(status), indent=2))
        return
    console = Console(highlight=False)
    for table in tables(status, all_places=all_places):
        console.print(table)


async def _ask(settings: Settings) -> EdgeStatus:
    control = EdgeControl.of(settings)
    try:
        return await control.status()
    finally:
        control.close()


def _gauges(config: Path) -> str:
    """An edge that is away is a metric too: whoever alerts on it must see that it was asked, and when."""
    settings = Settings.load(config)
    status, until = None, certificate_until(settings)
    try:
        status = asyncio.run(_ask(settings))
    except (EdgeUnavailable, EdgeRefused) as error:
        click.echo(f"ivr edge status: {error}", err=True)
    front = bool(settings.edge.nodes)
    snapshot = Snapshot(
        time.time(), __version__, "", wants_edge=True, wants_front=front, edge=status, certificate_until=until
    )
    return edge_text(snapshot)


@command.command("hold")
@_folder
def hold_command(config: Path) -> None:
    """Leave new calls over UDP unanswered for three seconds: for whoever is about to restart the edge.

    They are sent again, to the edge that runs by then. Returns when calls that came before have been answered, within a
    third of a second. Exit code 0, or 2 when no edge answers.
    """

    async def hold() -> None:
        control = EdgeControl.of(Settings.load(config))
        try:
            await control.hold()
        finally:
            control.close()

    _guarded("hold", lambda: asyncio.run(hold()))


@command.command("reload-certificates")
@_folder
def reload_command(config: Path) -> None:
    """Give new connections the certificate that is on disk now; calls that are up go on."""

    async def reload() -> None:
        plan = _plan(config)
        if plan.tls is None:
            raise EdgeError("edge.tls is not set: there is nothing to reload")
        write_certificates(plan, owner_of(plan))
        control = EdgeControl(plan.rpc, {}, timeout=RELOAD_S)
        try:
            await control.reload_tls()
        finally:
            control.close()

    _guarded("reload-certificates", lambda: asyncio.run(reload()))
