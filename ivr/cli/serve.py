# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr serve`: the whole server on this machine."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import click

from ivr.cli.exits import Exit
from ivr.flow.place import FileError
from ivr.ledger.errors import LedgerError
from ivr.ledger.keys import load_vkey
from ivr.ledger.note import NoteError
from ivr.node.load import Loaded, load
from ivr.node.logs import set_up_logs
from ivr.node.process import run_process
from ivr.node.supervisor import Child, ChildFailed, supervise

log = logging.getLogger("ivr.serve")

GRACE_S = 20.0
"""How much longer than drain_timeout a process may take to stop."""


@click.command()
@click.option("--config", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="The server's folder.")
def command(config: Path) -> None:
    """Run the ledger and a worker until SIGTERM; running calls finish within drain_timeout."""
    try:
        loaded = load(config)
        _must_be_initialised(loaded)
        set_up_logs("serve", loaded.settings.log.level, loaded.settings.log.format, loaded.settings.log.personal)
        _render(loaded)
        run_process(lambda stop, on_ready: _serve(loaded, config, stop, on_ready))
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


async def _serve(loaded: Loaded, config: Path, stop: asyncio.Event, on_ready: Callable[[], None]) -> None:
    settings = loaded.settings
    children = [Child(name, ["--config", str(config)]) for name in ("ledger", "pool")]

    async def up() -> None:
        transports = ", ".join(settings.sip.transports)
        log.info("listening on sip:%s:%d (%s)", settings.sip.address, settings.sip.port, transports)
        for flow in loaded.flows.flows:
            log.info("flow %s answers %s", flow.name, ", ".join(flow.numbers))
        on_ready()

    await supervise(children, stop, settings.limits.drain_timeout.ms / 1000 + GRACE_S, up)
