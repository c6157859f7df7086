# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr subject package`, `erase` and `close`: answering a request."""

from datetime import UTC, datetime
from pathlib import Path

import click

from ivr.audit.receipt import make_receipt
from ivr.audit.source import LogSource
from ivr.cli.all_nodes import all_nodes_option, ask, tell, whole_id, with_keys
from ivr.cli.erase import show, words
from ivr.cli.log import field_opener
from ivr.cli.retention import clocks
from ivr.cli.rights_common import by_person, json_option, known, ledger, told
from ivr.flow.library import Library
from ivr.ledger.note import VKey
from ivr.ledger.query import LogReader
from ivr.node.archive import vault_of
from ivr.node.settings import Settings
from ivr.rights.erase import Receipt, erase, of_calls, of_subject
from ivr.rights.errors import AlreadyDone, RightsError
from ivr.rights.letter import Facts
from ivr.rights.package import FORMATS, gather, write_package
from ivr.rights.requests import Outcome, close_request, find_request, search
from ivr.rights.texts import LANGUAGES, load_texts
from ivr.rights.view import Request, look

_NewFile = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("request_id", metavar="REQUEST")
@click.option(
    "--output", type=_NewFile, metavar="FILE", required=True, help="The zip; with --all-nodes FILE-NODE.zip for each."
)
@click.option("--format", "form", type=click.Choice(FORMATS), default="flac", show_default=True, help="Of the audio.")
@click.option("--language", type=click.Choice(LANGUAGES), default="en", show_default=True, help="Of the letter.")
@all_nodes_option
@by_person
def package(
    request_id: str,
    output: Path,
    form: str,
    language: str,
    all_nodes: bool,
    identity: Path,
    reason: str,
    folder: Path,
) -> None:
    """Put together what is kept about a person: one zip (0600) with a letter, recordings, events and receipts.

    For officers: their identity opens the recordings. The log says so before any of them is opened.
    """

    def packed(settings: Settings, output: Path) -> str:
        who = known(settings, identity)
        store = vault_of(settings)
        with (
            ledger(settings, who, "package") as tool,
            LogReader(settings.storage.database, field_opener(settings)) as log,
            LogSource(settings.storage.database) as source,
        ):
            view = look(log)
            request = find_request(view, request_id)
            if request.subject is None and not request.calls:
                raise _nobody(log, request)
            number = request.subject
            matches = search(tool, who, number=number, reference=None) if number is not None else []
            size = write_package(
                output,
                gather(log, view, request, matches),
                _facts(settings, request, language),
                log=log,
                view=view,
                store=store,
                tool=tool,
                known=who,
                form=form,
                why=reason,
                receipts=lambda seq: _receipt(source, seq),
                clocks=clocks(settings),
            )
        return f"{output}: {size} bytes"

    if all_nodes:
        whole_id(request_id)
        asked = ask(folder, lambda node: packed(node.settings, output.with_stem(f"{output.stem}-{node.name}")))
        tell(asked, False, lambda line: [line], str)
        return
    with told():
        line = packed(Settings.load(folder), output)
    click.echo(line, err=True)


def _nobody(log: LogReader, request: Request) -> RightsError:
    """Why a request names nobody: erased, which is for good, or only not to be read here."""
    if any(one.seq == request.opened.seq and one.name == "subject" for one in log.fields()):
        what = f"the number of request {request.id} cannot be read here"
        needs = "that takes the node's data/subjects and keys/pseudonym.key"
        return RightsError(
            f"{what}: {needs}; an erasure that was cut short is finished by ivr subject erase. Nothing was done"
        )
    return AlreadyDone(f"request {request.id} names nobody any more: its number was erased")


def _facts(settings: Settings, request: Request, language: str) -> Facts:
    own_texts = [settings.prompts.folder] if settings.prompts.folder else []
    vkey = VKey.read(settings.keys.ledger_public)
    today = datetime.now(UTC).date()
    return Facts(load_texts(language), Library.load(*own_texts), request, today, clocks(settings), str(vkey))


def _receipt(source: LogSource, seq: int) -> str | None:
    """The receipt of an event; None while no checkpoint covers it."""
    row, checkpoint = source.event(str(seq)), source.newest_checkpoint()
    if row is None or checkpoint is None or row.seq >= checkpoint.size:
        return None
    return make_receipt(source, row, checkpoint).text()


@click.command("erase")
@click.argument("request_id", metavar="REQUEST")
@all_nodes_option
@by_person
@json_option
def erase_command(request_id: str, all_nodes: bool, identity: Path, reason: str, folder: Path, as_json: bool) -> None:
    """Erase what a request is about, and print a receipt. For officers. The request stays open until it is closed.

    One that was interrupted is finished by the same command.
    """

    def erased(settings: Settings) -> Receipt:
        who = known(settings, identity)
        store = vault_of(settings)
        with (
            ledger(settings, who, "erase") as tool,
            LogReader(settings.storage.database, field_opener(settings)) as log,
        ):
            view = look(log)
            request = find_request(view, request_id)
            if request.subject is not None:
                matches = search(tool, who, number=request.subject, reference=None)
                target = of_subject(view, request.subject, matches, request.opened.seq)
            elif request.calls:
                target = of_calls(log, view, request.calls, "call")
            elif matches := tool.find("request", str(request.opened.seq)):
                # Its number is not to be read here, or no more: an erasure was cut short. The ledger knows whose it is.
                target = of_subject(view, request.opened.seq, matches, request.opened.seq)
            else:
                raise _nobody(log, request)
            return erase(log, store, tool, who, target, why=reason, now=datetime.now(UTC), request=request.id)

    if all_nodes:
        whole_id(request_id)
        tell(ask(folder, lambda node: erased(with_keys(node))), as_json, words, Receipt.as_json)
        return
    with told():
        receipt = erased(Settings.load(folder))
    show(receipt, as_json)


@click.command("close")
@click.argument("request_id", metavar="REQUEST")
@click.option("--outcome", type=click.Choice([o.value for o in Outcome]), required=True, help="How it was answered.")
@all_nodes_option
@by_person
def close_command(request_id: str, outcome: str, all_nodes: bool, identity: Path, reason: str, folder: Path) -> None:
    """Close a request. For officers."""
    today = datetime.now(UTC).date()

    def closed(settings: Settings) -> str:
        who = known(settings, identity)
        with ledger(settings, who, "subject") as tool, LogReader(settings.storage.database) as log:
            request = close_request(log, tool, who, request_id, Outcome(outcome), why=reason, today=today)
        late = f", {(today - request.due).days} days late" if today > request.due else ""
        return f"{request.id} closed: {outcome}{late}"

    if all_nodes:
        whole_id(request_id)
        tell(ask(folder, lambda node: closed(node.settings)), False, lambda line: [line], str)
        return
    with told():
        line = closed(Settings.load(folder))
    click.echo(line)
