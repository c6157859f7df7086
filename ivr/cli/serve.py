# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr serve`: the whole server on this machine."""

import asyncio
import logging
import signal
from collections.abc import Callable
from pathlib import Path

import click

from ivr.cli.exits import Exit
from ivr.flow.model import Flow
from ivr.flow.place import FileError
from ivr.ledger.errors import LedgerError
from ivr.ledger.keys import load_vkey
from ivr.ledger.note import NoteError
from ivr.node.load import Loaded, load
from ivr.node.logs import set_up_logs
from ivr.node.ondisk import run_ivr
from ivr.node.process import run_process
from ivr.node.settings import Settings
from ivr.node.supervisor import Child, ChildFailed, supervise

log = logging.getLogger("ivr.serve")

GRACE_S = 30.0
"""How much longer than drain_timeout a process may take to stop."""


@click.command()
@click.option("--config", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="The server's folder.")
def command(config: Path) -> None:
    """Run ledger, edge and workers until SIGTERM; running calls finish within drain_timeout.

    SIGHUP starts every part anew, one after the other and from what is on disk then, without ending a call. With
    edge.nodes the front edge is all that runs: it needs no keys and no log.
    """
    try:
        settings, flows = Settings.load(config), tuple[Flow, ...]()
        log_as = settings.log
        if settings.edge.nodes:  # a front edge: its nodes have all the rest
            set_up_logs("serve", log_as.level, log_as.format, log_as.personal)
        else:
            loaded = load(config)
            flows = tuple(loaded.flows.flows)
            _must_be_initialised(loaded)
            set_up_logs("serve", log_as.level, log_as.format, log_as.personal)
            _render(loaded)
        hangup = asyncio.Event()
        run_process(lambda stop, ready: _serve(settings, flows, config, stop, ready, hangup), on_hangup=hangup.set)
    except (FileError, LedgerError, NoteError, ChildFailed, OSError) as error:
        click.echo(f"ivr serve: {error}", err=True)
        raise click.exceptions.Exit(Exit.COULD_NOT_RUN) from error


def _must_be_initialised(loaded: Loaded) -> None:
    load_vkey(loaded.settings.keys.ledger_public.parent)
    database = loaded.settings.storage.database
    # A database elsewhere is asked by the ledger itself, which says what is wrong.
    if isinstance(database, Path) and not database.is_file():
        raise FileNotFoundError(f"{database} is not there; keys and log are made once with: ivr init DIR")


def _render(loaded: Loaded) -> None:
    report = loaded.render()
    for failure in report.failures:
        log.error("prompt %s (%s): %s", failure.spec.name, failure.spec.language, failure.what)
    log.info("%d prompts are ready", len(report.files))
    if not report.complete:
        raise OSError("a prompt could not be made: calls that need it could not be recorded; see above")


def _children(settings: Settings, config: Path) -> list[Child]:
    """In the order in which they start. Without an edge the one worker listens itself; a front edge has no workers."""
    where = ["--config", str(config)]
    front = bool(settings.edge.nodes)
    edge = [Child("edge", ["run", *where], prepares=True)] if settings.pool.edge or front else []
    if front:
        return edge
    archive = [Child("archive", ["run", *where])] if settings.storage.archive else []
    return [Child("ledger", where), *archive, *edge, Child("pool", where)]


async def _serve(
    settings: Settings,
    flows: tuple[Flow, ...],
    config: Path,
    stop: asyncio.Event,
    on_ready: Callable[[], None],
    hangup: asyncio.Event,
) -> None:
    children = _children(settings, config)
    timeout = settings.limits.drain_timeout.ms / 1000 + GRACE_S
    renewals = asyncio.ensure_future(_renewals(children, config, hangup, timeout))

    async def up() -> None:
        for line in _listens(settings):
            log.info("listening on %s", line)
        for flow in flows:
            log.info("flow %s answers %s", flow.name, ", ".join(flow.numbers))
        on_ready()

    try:
        await supervise(children, stop, timeout, up)
    finally:
        renewals.cancel()
        await asyncio.gather(renewals, return_exceptions=True)


def _listens(settings: Settings) -> list[str]:
    sip = settings.sip
    if (settings.pool.edge or settings.edge.nodes) and settings.edge.listen:
        return [f"sip:{at.address}:{at.port} ({', '.join(at.transports)})" for at in settings.edge.listen]
    return [f"sip:{sip.address}:{sip.port} ({', '.join(sip.transports)})"]


async def _renewals(children: list[Child], config: Path, hangup: asyncio.Event, timeout: float) -> None:
    """At each SIGHUP one part after the other starts anew, from what is on disk then; calls go on all along.

    The ledger first, then the edge: workers and calls survive both. The pool renews its workers by itself. What is on
    disk is tried before anything is stopped.
    """
    tries = {"ledger": ("prompts", "render"), "archive": ("prompts", "render"), "edge": ("edge", "check")}
    renewed = [child for child in children if child.name != "pool"]
    while True:
        await hangup.wait()
        hangup.clear()
        log.info("SIGHUP: every part is started anew, one after the other")
        try:
            for child in renewed:
                await run_ivr(*tries[child.name], "--config", str(config))
            for child in renewed:
                await child.renew(timeout)
                log.info("the %s has been started anew", child.name)
        except (ChildFailed, OSError) as error:
            log.error("not everything is started anew: %s", error)
            continue
        for child in children:
            if child not in renewed:
                child.signal(signal.SIGHUP)
