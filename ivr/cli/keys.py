# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr keys`: the public halves of the server's keys, and a new signing key for the log."""

import json
from pathlib import Path

import click

from ivr.cli.log import config_option, json_option, told
from ivr.ledger.event import key_id
from ivr.ledger.keyring import KeyRing
from ivr.ledger.rotate import rotate
from ivr.node.settings import Settings


@click.group()
def command() -> None:
    """Show the keys that sign and those that seal; rotate the signing key."""


@command.command()
@config_option
@json_option
def show(folder: Path, as_json: bool) -> None:
    """Print the verifier key of the log (for auditors), its key id, and the recipients that can open recordings."""
    with told():
        keys = Settings.load(folder).keys
        ring, recipients = KeyRing.read(keys.ledger_public), _recipients(keys.recipients)
    vkey = ring.current
    if as_json:
        shown = {"origin": vkey.name, "vkey": str(vkey), "kid": key_id(vkey.public), "recipients": recipients}
        click.echo(json.dumps({**shown, "retired": [str(key) for key in ring.keys[:-1]]}))
        return
    click.echo(f"log         {vkey.name}")
    click.echo(f"vkey        {vkey}")
    click.echo(f"kid         {key_id(vkey.public)}")
    for key in ring.keys[:-1]:
        click.echo(f"retired     {key}")
    for recipient in recipients:
        click.echo(f"recipient   {recipient}")


@command.command("rotate")
@config_option
@json_option
def rotate_command(folder: Path, as_json: bool) -> None:
    """Give the log a new signing key; the old one announces it in the log, and is destroyed.

    The server must be stopped. Events signed before hold for ever: whoever holds any key of the log finds the others in
    it. Give the new verifier key to your auditor all the same. An interrupted rotation is finished by running it again.
    """
    with told():
        settings = Settings.load(folder)
        done = rotate(settings.storage.database, settings.keys.ledger.parent)
    if as_json:
        shown = {"old": str(done.old), "new": str(done.new), "kid": key_id(done.new.public), "finished": done.finished}
        click.echo(json.dumps(shown))
        return
    click.echo(str(done.new))
    said = "An interrupted rotation was finished" if done.finished else "The log has a new key"
    click.echo(f"{said}. Retired, and destroyed: {done.old}\nStart the server again.", err=True)


def _recipients(path: Path) -> list[str]:
    lines = (line.strip() for line in path.read_text("utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]
