# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr keys`: the public halves of the server's keys. No secret is read."""

import json
from pathlib import Path

import click

from ivr.cli.log import config_option, json_option, told
from ivr.ledger.event import key_id
from ivr.ledger.note import VKey
from ivr.node.settings import Settings


@click.group()
def command() -> None:
    """Show the keys that sign and those that seal."""


@command.command()
@config_option
@json_option
def show(folder: Path, as_json: bool) -> None:
    """Print the verifier key of the log (for auditors), its key id, and the recipients that can open recordings."""
    with told():
        keys = Settings.load(folder).keys
        vkey, recipients = VKey.read(keys.ledger_public), _recipients(keys.recipients)
    if as_json:
        shown = {"origin": vkey.name, "vkey": str(vkey), "kid": key_id(vkey.public), "recipients": recipients}
        click.echo(json.dumps(shown))
        return
    click.echo(f"log         {vkey.name}")
    click.echo(f"vkey        {vkey}")
    click.echo(f"kid         {key_id(vkey.public)}")
    for recipient in recipients:
        click.echo(f"recipient   {recipient}")


def _recipients(path: Path) -> list[str]:
    lines = (line.strip() for line in path.read_text("utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]
