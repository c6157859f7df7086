# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr erase`: destroys the keys of a recording, a call or a person, with a receipt."""

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from ivr.cli.rights_common import by_person, json_option, known, ledger, told
from ivr.ledger.query import LogReader
from ivr.node.settings import Settings
from ivr.rights.erase import Receipt, Target, erase, of_call, of_recording, of_subject
from ivr.rights.requests import search
from ivr.rights.view import look
from ivr.vault.store import RecordingStore


@click.command()
@click.option("--recording", metavar="ID", help="One recording; any beginning of its id.")
@click.option("--call", metavar="ID", help="One call: its recordings and everything personal in its events.")
@click.option("--number", metavar="NUMBER", help="Everything that names this number, however it is written.")
@by_person
@json_option
def command(
    recording: str | None,
    call: str | None,
    number: str | None,
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
    with told():
        settings = Settings.load(folder)
        who = known(settings, identity)
        store = RecordingStore(settings.storage.recordings, settings.storage.keystore, None)
        with ledger(settings, who, "erase") as tool, LogReader(settings.storage.database) as log:
            view = look(log)
            target: Target
            if recording is not None:
                target = of_recording(view, recording)
            elif call is not None:
                target = of_call(log, view, call)
            else:
                matches = search(tool, who, number=number, reference=None)
                target = of_subject(view, str(number), matches)
            receipt = erase(log, store, tool, who, target, why=reason, now=datetime.now(UTC))
    show(receipt, as_json)


def show(receipt: Receipt, as_json: bool) -> None:
    """The receipt on stdout; what was kept on stderr."""
    if as_json:
        click.echo(json.dumps(receipt.as_json()))
    else:
        click.echo(f"erased: {len(receipt.recordings)} recordings, {receipt.fields} personal fields")
        for name in receipt.recordings:
            click.echo(f"recording {name}")
        for ack in receipt.events:
            click.echo(f"event {ack.seq} {ack.id} {ack.time}")
    for name in receipt.held:
        click.echo(f"kept for a legal hold: {name}", err=True)
