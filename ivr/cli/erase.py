# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr erase`: destroys the keys of a recording, a call or a person, with a receipt."""

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from ivr.cli.all_nodes import all_nodes_option, ask, tell, with_keys
from ivr.cli.rights_common import by_person, json_option, known, ledger, told
from ivr.ledger.query import LogReader
from ivr.ledger.tool import LedgerTool
from ivr.node.archive import vault_of
from ivr.node.settings import Settings
from ivr.rights.erase import Receipt, Target, erase, of_call, of_recording, of_subject
from ivr.rights.identity import Known
from ivr.rights.requests import search
from ivr.rights.view import look


@click.command()
@click.option("--recording", metavar="ID", help="One recording; any beginning of its id.")
@click.option("--call", metavar="ID", help="One call: its recordings and everything personal in its events.")
@click.option("--number", metavar="NUMBER", help="Everything that names this number, however it is written.")
@all_nodes_option
@by_person
@json_option
def command(
    recording: str | None,
    call: str | None,
    number: str | None,
    all_nodes: bool,
    identity: Path,
    reason: str,
    folder: Path,
    as_json: bool,
) -> None:
    """Erase for good, and print a receipt. For officers.

    Secrets are destroyed first, so copies of the files and of the database are of no use any more, wherever they are; a
    copy of the key store is (docs/operate/rights.md). What a legal hold covers is kept, and named. The log stays whole.
    """
    if [recording, call, number].count(None) != 2:
        raise click.UsageError("name one of --recording, --call and --number")
    if all_nodes and number is None:
        raise click.UsageError("a call or a recording is in one log: name that node's folder by --config")

    def erased(settings: Settings) -> Receipt:
        who = known(settings, identity)
        store = vault_of(settings)
        with ledger(settings, who, "erase") as tool, LogReader(settings.storage.database) as log:
            target = _target(log, tool, who, recording, call, number)
            return erase(log, store, tool, who, target, why=reason, now=datetime.now(UTC))

    if all_nodes:
        tell(ask(folder, lambda node: erased(with_keys(node))), as_json, words, Receipt.as_json)
        return
    with told():
        receipt = erased(Settings.load(folder))
    show(receipt, as_json)


def _target(
    log: LogReader, tool: LedgerTool, who: Known, recording: str | None, call: str | None, number: str | None
) -> Target:
    view = look(log)
    if recording is not None:
        return of_recording(view, recording)
    if call is not None:
        return of_call(log, view, call)
    return of_subject(view, str(number), search(tool, who, number=number, reference=None))


def show(receipt: Receipt, as_json: bool) -> None:
    """The receipt on stdout; what was kept on stderr."""
    if as_json:
        click.echo(json.dumps(receipt.as_json()))
    else:
        click.echo("\n".join(_gone(receipt)))
    for line in _kept(receipt):
        click.echo(line, err=True)


def words(receipt: Receipt) -> list[str]:
    """The receipt in lines, and what was kept."""
    return [*_gone(receipt), *_kept(receipt)]


def _gone(receipt: Receipt) -> list[str]:
    lines = [f"erased: {len(receipt.recordings)} recordings, {receipt.fields} personal fields"]
    lines += [f"recording {name}" for name in receipt.recordings]
    return lines + [f"event {ack.seq} {ack.id} {ack.time}" for ack in receipt.events]


def _kept(receipt: Receipt) -> list[str]:
    return [f"kept for a legal hold: {name}" for name in receipt.held]
