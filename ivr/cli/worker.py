# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr worker`: one worker without a pool, to look at by itself."""

from pathlib import Path

import click

from ivr.cli.exits import Exit
from ivr.flow.place import FileError
from ivr.ledger.errors import LedgerError
from ivr.ledger.note import NoteError
from ivr.node.load import load
from ivr.node.logs import set_up_logs
from ivr.node.process import look_up_no_names, run_process
from ivr.node.worker import run_worker
from ivr.sip.endpoint import EndpointError
from ivr.vault.errors import VaultError


@click.command()
@click.option("--config", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="The server's folder.")
@click.option("--name", default="w0", show_default=True, help="Name of this worker in the log.")
def command(config: Path, name: str) -> None:
    """Take calls until SIGTERM, then drain. Needs a running ledger and rendered prompts."""
    try:
        look_up_no_names()
        loaded = load(config)
        set_up_logs(name, loaded.settings.log.level, loaded.settings.log.format, loaded.settings.log.personal)
        run_process(lambda stop, on_ready: run_worker(loaded, name, stop, lambda _: on_ready()))
    except (FileError, LedgerError, NoteError, EndpointError, VaultError, OSError) as error:
        click.echo(f"ivr worker: {error}", err=True)
        raise click.exceptions.Exit(Exit.COULD_NOT_RUN) from error
