# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr ledger`: the ledger process, as `ivr serve` and systemd start it."""

import asyncio
import grp
import pwd
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ivr import __version__
from ivr.cli.exits import Exit
from ivr.flow.place import FileError
from ivr.ledger.access import Access
from ivr.ledger.errors import LedgerError
from ivr.ledger.note import NoteError
from ivr.ledger.running import run_ledger
from ivr.ledger.service import ServiceSettings
from ivr.node.archive import vault_of
from ivr.node.logs import set_up_logs
from ivr.node.process import run_process
from ivr.node.settings import Settings
from ivr.vault.errors import VaultError


@click.command()
@click.option("--config", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="The server's folder.")
@click.option(
    "--user", help="The workers' user, where it is not the ledger's own. Root and the ledger's own always may."
)
@click.option("--group", help="Primary group whose processes may ask for what tools ask; they cannot write calls.")
def command(config: Path, user: str | None, group: str | None) -> None:
    """Sign and store events until SIGTERM. The only process that reads the signing key."""
    try:
        access = _access(user, group)
        settings = Settings.load(config)
        set_up_logs("ledger", settings.log.level, settings.log.format, settings.log.personal)
        run_process(lambda stop, on_ready: _run(settings, access, stop, on_ready))
    except (FileError, LedgerError, NoteError, VaultError, OSError) as error:
        click.echo(f"ivr ledger: {error}", err=True)
        raise click.exceptions.Exit(Exit.COULD_NOT_RUN) from error


def _access(user: str | None, group: str | None) -> Access:
    try:
        uids = frozenset() if user is None else frozenset({pwd.getpwnam(user).pw_uid})
    except KeyError:
        raise OSError(f"there is no user {user!r} on this machine") from None
    try:
        return Access(uids, frozenset() if group is None else frozenset({grp.getgrnam(group).gr_gid}))
    except KeyError:
        raise OSError(f"there is no group {group!r} on this machine") from None


async def _run(settings: Settings, access: Access, stop: asyncio.Event, on_ready: Callable[[], None]) -> None:
    store = vault_of(settings)

    def inventory(call: str, recording: str) -> list[Mapping[str, Any]]:
        # Asked only when nobody writes this recording any more: what a crash left half written goes first.
        store.remove_leftovers(call, recording)
        return [asdict(fact) for fact in store.inventory(call, recording)]

    checkpoint = settings.ledger.checkpoint
    await run_ledger(
        settings.storage.database,
        settings.keys.ledger.parent,
        ServiceSettings(
            socket=settings.ledger.socket,
            checkpoint_events=checkpoint.events,
            checkpoint_seconds=checkpoint.interval.ms / 1000,
            access=access,
            people=settings.keys.people,
            personal=settings.personal,
            version=__version__,
        ),
        inventory,
        stop=stop,
        on_ready=on_ready,
    )
