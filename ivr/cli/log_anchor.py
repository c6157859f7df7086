# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr log anchor`: has the newest checkpoint stamped and cosigned by people outside."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from ivr.cli.exits import Exit
from ivr.cli.log import CouldNotRun, config_option, json_option, told
from ivr.node.anchoring import anchor_newest
from ivr.node.settings import Settings


@click.command()
@config_option
@json_option
def anchor(folder: Path, as_json: bool) -> None:
    """Have the newest checkpoint stamped (RFC 3161) and cosigned (C2SP witnesses) by those that server.yaml names.

    What they answer is checked, kept in storage.anchors, and verified by `ivr log verify`. Exit code 1 when one of them
    did not answer as it must.
    """
    with told():
        settings = Settings.load(folder)
        if not settings.anchors.timestamps and not settings.anchors.witnesses:
            raise CouldNotRun("server.yaml names nobody to ask: anchors.timestamps and anchors.witnesses are empty")
        done = anchor_newest(settings.storage.database, settings.storage.anchors, settings.anchors)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in done]))
    else:
        for one in done:
            state = f"FAILED: {one.failed}" if one.failed else "there already" if one.already else "done"
            click.echo(f"checkpoint {one.size}: {one.who}: {state}")
    if any(one.failed for one in done):
        raise click.exceptions.Exit(Exit.CHECK_FAILED)
