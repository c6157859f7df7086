# SPDX-License-Identifier: GPL-3.0-or-later
"""What the commands that talk to a running pool share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ivr.cli.exits import Exit
from ivr.flow.place import FileError
from ivr.node.pool.control import ControlError, ask
from ivr.node.settings import Settings

CONFIG = click.option(
    "--config", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="The server's folder."
)


def asked(command: str, config: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of the server's pool manager; ends the command with 2 when there is none."""
    try:
        return ask(Settings.load(config).pool.control, request)
    except (FileError, ControlError) as error:
        click.echo(f"ivr {command}: {error}", err=True)
        raise click.exceptions.Exit(Exit.COULD_NOT_RUN) from error
