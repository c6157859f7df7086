# SPDX-License-Identifier: GPL-3.0-or-later
"""What the commands about rights share: who asks and why, the ledger, and how failures are told."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from ivr.audit.source import SourceError
from ivr.cli.exits import Exit
from ivr.flow.place import FileError
from ivr.ledger.errors import LedgerError
from ivr.ledger.event import EventError
from ivr.ledger.keyring import KeyRing
from ivr.ledger.note import NoteError
from ivr.ledger.reference import BadReference
from ivr.ledger.tool import LedgerTool
from ivr.node.settings import Settings
from ivr.rights.errors import RightsError
from ivr.rights.identity import Known, identify
from ivr.vault.errors import VaultError

F = TypeVar("F", bound=Callable[..., Any])

_Folder = click.Path(exists=True, file_okay=False, path_type=Path)
existing_file = click.Path(exists=True, dir_okay=False, path_type=Path)
config_option = click.option(
    "--config", "folder", type=_Folder, default=Path(), metavar="DIR", help="The server's folder (default: this one)."
)
json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")
identity_option = click.option(
    "--identity", type=existing_file, metavar="FILE", required=True, help="Your age identity: it says who you are."
)
reason_option = click.option(
    "--reason", metavar="TEXT", required=True, help="Why; kept for ever in the log, so name nobody here."
)


class CouldNotRun(click.ClickException):
    """Nothing was done: exit code 2."""

    exit_code = int(Exit.COULD_NOT_RUN)


@contextmanager
def told() -> Iterator[None]:
    """What keeps a command from running, as a message and exit code 2."""
    try:
        yield
    except (
        FileError, LedgerError, NoteError, EventError, SourceError, VaultError, RightsError, BadReference, OSError
    ) as error:  # fmt: skip
        raise CouldNotRun(str(error)) from error


def by_person(function: F) -> F:
    """Adds --identity, --reason and --config."""
    return identity_option(reason_option(config_option(function)))


def known(settings: Settings, identity: Path) -> Known:
    """Who asks. Raises NotAllowed."""
    return identify(identity, settings.keys.people)


def ledger(settings: Settings, person: Known | None, name: str) -> LedgerTool:
    """A connection to the running ledger of this log. Raises LedgerUnavailable, which says that nothing was done."""
    origin = KeyRing.read(settings.keys.ledger_public).first.name
    return LedgerTool(settings.ledger.socket, name, person.signer if person else None, log=origin)
