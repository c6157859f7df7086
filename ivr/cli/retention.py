# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr retention`: what goes when, and letting it go. The systemd timer runs it daily; it needs no person."""

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import click

from ivr.cli.rights_common import config_option, json_option, ledger, told
from ivr.ledger.query import LogReader
from ivr.node.settings import Settings
from ivr.rights.retention import Clocks, Item, plan, run
from ivr.rights.view import event_time
from ivr.vault.store import RecordingStore


@click.group()
def command() -> None:
    """Plan and apply retention.

    Recordings go when the time is over that their callers were told; personal fields have clocks of their own
    (`retention` in server.yaml). What a legal hold covers stays.
    """


@command.command("plan")
@click.option("--days", type=click.IntRange(0), help="Only what goes within so many days.")
@config_option
@json_option
def plan_command(days: int | None, folder: Path, as_json: bool) -> None:
    """Show what will go, and when, soonest first. Changes nothing; needs no running server."""
    with told():
        settings = Settings.load(folder)
        with LogReader(settings.storage.database) as log:
            items = plan(log, clocks(settings))
    now = datetime.now(UTC)
    if days is not None:
        items = [item for item in items if (datetime.fromisoformat(item.due) - now).days < days]
    if as_json:
        click.echo(json.dumps([item.as_json() for item in items]))
        return
    for line in _table(items, event_time(now)):
        click.echo(line)
    if not items:
        click.echo("nothing is kept that will go", err=True)


def _table(items: list[Item], now: str) -> list[str]:
    """Recordings one a line; personal fields counted by day."""
    lines: Counter[tuple[str, str, str, str]] = Counter()
    for item in items:
        state = "on hold" if item.held else "due" if item.due <= now else "kept"
        what = f"recording {item.recording} of call {item.call}" if item.recording else "personal fields"
        lines[(item.due[:10], item.rule.value, state, what)] += 1
    return [
        f"{day}  {rule:9}  {state:8} {what if what.startswith('recording') else f'{count} {what}'}"
        for (day, rule, state, what), count in lines.items()
    ]


@command.command("run")
@config_option
@json_option
def run_command(folder: Path, as_json: bool) -> None:
    """Let go what is due. Can be repeated; a run that was cut short is finished by the next one."""
    with told():
        settings = Settings.load(folder)
        store = RecordingStore(settings.storage.recordings, settings.storage.keystore, None)
        with ledger(settings, None, "retention") as tool, LogReader(settings.storage.database) as log:
            done = run(log, store, tool, clocks(settings), datetime.now(UTC))
    if as_json:
        click.echo(json.dumps({"recordings": done.recordings, "fields": done.fields, "held": done.held}))
        return
    fields = ", ".join(f"{count} {rule}" for rule, count in done.fields.items()) or "none"
    click.echo(f"gone: {len(done.recordings)} recordings; personal fields: {fields}")
    if done.held:
        click.echo(f"kept for a legal hold: {done.held}", err=True)


def clocks(settings: Settings) -> Clocks:
    """The clocks of server.yaml."""
    keep = settings.retention
    return Clocks(keep.recordings.days, keep.personal.days, keep.evidence.days)
