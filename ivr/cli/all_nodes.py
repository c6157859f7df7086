# SPDX-License-Identifier: GPL-3.0-or-later
"""`--all-nodes`: a command on every node that server.yaml lists. A node that cannot be asked is named, never skipped.

Nothing is shared between nodes: each has its own log, and its own ledger alone writes it. So a command over all of them
is the command on each, one after the other, and an answer that says how much of it is there.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import click

from ivr.audit.source import SourceError
from ivr.cli.exits import Exit
from ivr.cli.rights_common import CouldNotRun
from ivr.flow.place import FileError
from ivr.ledger.errors import LedgerError
from ivr.ledger.event import EventError
from ivr.ledger.keyring import KeyRing
from ivr.ledger.note import NoteError, VKey
from ivr.ledger.query import LogReader
from ivr.node.settings import NodeFolder, Settings
from ivr.rights.errors import AlreadyDone, NotHere, RightsError
from ivr.rights.view import look
from ivr.vault.errors import VaultError

T = TypeVar("T")

all_nodes_option = click.option("--all-nodes", is_flag=True, help="On every node that server.yaml lists.")
again_option = click.option(
    "--again", metavar="ID", help="With --all-nodes: finish on the nodes that were missing what has this id elsewhere."
)


class WrongKey(Exception):
    """The log of a node is not the one that was configured."""


TROUBLE = (FileError, LedgerError, NoteError, EventError, SourceError, VaultError, RightsError, WrongKey, OSError)
"""What keeps one node from answering; the others are asked all the same."""


@dataclass(frozen=True, slots=True)
class OneNode:
    """A node that can be asked. `key` is the first of its log; the one that was configured where one was."""

    name: str
    settings: Settings
    key: VKey


@dataclass(slots=True)
class Asked(Generic[T]):
    """What the nodes said, by name: answers, who does not know it, where it was done before, who could not be asked."""

    answers: dict[str, T] = field(default_factory=dict)
    strangers: dict[str, str] = field(default_factory=dict)
    before: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def listed(folder: Path) -> Sequence[NodeFolder]:
    """The nodes. Raises CouldNotRun for none, and when this folder is a server itself that is not among them."""
    try:
        settings = Settings.load(folder)
    except FileError as error:
        raise CouldNotRun(str(error)) from error
    where = settings.folder / "server.yaml"
    if not settings.nodes:
        raise CouldNotRun(f"{where} lists no nodes: `nodes: [{{name: a, folder: /srv/nodes/a}}]` names one")
    here = settings.folder.resolve()
    if settings.keys.ledger_public.exists() and not any(node.folder.resolve() == here for node in settings.nodes):
        raise CouldNotRun(f"{here} is a server itself and not among the nodes of {where}: add it, with folder: .")
    return settings.nodes


def opened(node: NodeFolder) -> OneNode:
    """A node's settings and key. Raises FileError, NoteError, WrongKey."""
    settings = Settings.load(node.folder)
    first = KeyRing.read(settings.keys.ledger_public).first
    if node.key is not None and first != VKey.parse(node.key):
        raise WrongKey(f"{settings.keys.ledger_public} is not the key that is configured: {first} and not {node.key}")
    return OneNode(node.name, settings, first)


def ask(folder: Path, work: Callable[[OneNode], T], enough: Callable[[T], bool] = lambda _answer: False) -> Asked[T]:
    """Do `work` on every node, one after the other, until an answer is `enough`. Raises CouldNotRun."""
    asked: Asked[T] = Asked()
    for node in listed(folder):
        try:
            answer = work(opened(node))
        except NotHere as error:
            asked.strangers[node.name] = str(error)
        except AlreadyDone as error:
            asked.before[node.name] = str(error)
        except TROUBLE as error:
            asked.missing[node.name] = str(error)
        else:
            asked.answers[node.name] = answer
            if enough(answer):
                # Whoever could not be asked before does not have it: it is in one log alone.
                asked.missing.clear()
                break
    return asked


def with_keys(node: OneNode) -> Settings:
    """Its settings. Raises RightsError when the key store is not the node's: erasing would leave the real keys alive.

    An empty folder is what a mount that is not there looks like.
    """
    store = node.settings.storage.keystore
    with LogReader(node.settings.storage.database) as log:
        kept = sum(one.erased is None for one in look(log).recordings.values())
    if kept and not any(store.iterdir()):
        raise RightsError(f"{store} is empty, the log has {kept} recordings: is it mounted? Nothing was done")
    return node.settings


def tell(
    asked: Asked[T],
    as_json: bool,
    words: Callable[[T], Sequence[str]],
    facts: Callable[[T], Any],
    failed: Callable[[T], bool] = lambda _answer: False,
) -> None:
    """Print it, each line with its node, and end with the exit code: 1 `failed`, 3 incomplete, 2 nobody answered."""
    if as_json:
        said = {"complete": not asked.missing, "nodes": {name: facts(one) for name, one in asked.answers.items()}}
        click.echo(json.dumps(said | {"not_here": asked.strangers, "before": asked.before, "missing": asked.missing}))
    else:
        for name, answer in asked.answers.items():
            for line in words(answer):
                click.echo(f"{name}: {line}")
    for name, why in {**asked.strangers, **asked.before}.items():
        click.echo(f"{name}: {why}", err=True)
    for name, why in asked.missing.items():
        click.echo(f"INCOMPLETE: node {name}: {why}", err=True)
    if any(map(failed, asked.answers.values())):
        raise click.exceptions.Exit(Exit.CHECK_FAILED)
    if asked.missing:
        nobody = not asked.answers and not asked.before and not asked.strangers
        raise click.exceptions.Exit(Exit.COULD_NOT_RUN if nobody else Exit.INCOMPLETE)
    if not asked.answers and not asked.before:
        raise click.exceptions.Exit(Exit.COULD_NOT_RUN)


def whole_id(name: str) -> str:
    """An id for all nodes: a beginning of it could be one on each. Raises UsageError."""
    if len(name) != 36:
        raise click.UsageError(f"with --all-nodes the whole id is needed, not a beginning of it: {name!r}")
    return name


def say_again(asked: Asked[T], name: str) -> None:
    """Say how to finish what was not done everywhere."""
    if asked.missing:
        click.echo(f"not on every node yet: when they are back, the same command with --again {name}", err=True)
