# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr retention`: says that this version has no retention clock. Nothing is removed, and nothing claims to be."""

import click

_TRUTH = "retention arrives in a later version: nothing was removed"


@click.group()
def command() -> None:
    """Plan and apply retention.

    This version keeps recordings until somebody removes them: a flow's retention is told to the caller and logged, and
    the operator has to honour it. Both commands say so and exit with 0.
    """


@command.command()
def plan() -> None:
    """Show what would be removed, and when: nothing, in this version."""
    click.echo(_TRUTH, err=True)


@command.command()
def run() -> None:
    """Remove what is due: nothing, in this version."""
    click.echo(_TRUTH, err=True)
