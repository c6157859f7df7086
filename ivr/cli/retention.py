# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr retention`: what goes when, and letting it go. The systemd timer runs it daily; it needs no person."""

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from ivr.cli.all_nodes import all_nodes_option, ask, tell, with_keys
from ivr.cli.rights_common import config_option, json_option, ledger, told
from ivr.ledger.query import LogReader
from ivr.node.archive import vault_of
from ivr.node.settings import Settings
from ivr.rights.retention import Applied, Clocks, Item, plan, run
from ivr.rights.view import event_time


@click.group()
def command() -> None:
    """Plan and apply retention.

    Recordings go when the time is over that their callers were told; personal fields have clocks of their own
    (`retention` in server.yaml). What a legal hold covers stays.
    """


@command.command("plan")
@click.option("--days", type=click.IntRange(0), help="Only what goes within so many days.")
@all_nodes_option
@config_option
@json_option
def plan_command(days: int | None, all_nodes: bool, folder: Path, as_json: bool) -> None:
    """Show what will go, and when, soonest first. Changes nothing; needs no running server."""
    now = datetime.now(UTC)

    def planned(settings: Settings) -> list[Item]:
        with LogReader(settings.storage.database) as log:
            items = plan(log, clocks(settings))
        return [item for item in items if days is None or (datetime.fromisoformat(item.due) - now).days < days]

    if all_nodes:
        asked = ask(folder, lambda node: planned(node.settings))
        tell(asked, as_json, lambda items: _table(items, event_time(now)), lambda items: [i.as_json() for i in items])
        return
    with told():
        items = planned(Settings.load(folder))
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
@all_nodes_option
@config_option
@json_option
def run_command(all_nodes: bool, folder: Path, as_json: bool) -> None:
    """Let go what is due. Can be repeated; a run that was cut short is finished by the next one."""
    if all_nodes:
        asked = ask(folder, lambda node: _applied(with_keys(node)))
        tell(asked, as_json, lambda done: [_gone(done), *_kept(done)], _as_json)
        return
    with told():
        done = _applied(Settings.load(folder))
    if as_json:
        click.echo(json.dumps(_as_json(done)))
        return
    click.echo(_gone(done))
    for line in _kept(done):
        click.echo(line, err=True)


def _applied(settings: Settings) -> Applied:
    store = vault_of(settings)
    with ledger(settings, None, "retention") as tool, LogReader(settings.storage.database) as log:
        return run(log, store, tool, clocks(settings), datetime.now(UTC))


def _as_json(done: Applied) -> dict[str, Any]:
    return {"recordings": done.recordings, "fields": done.fields, "held": done.held}


def _gone(done: Applied) -> str:
    fields = ", ".join(f"{count} {rule}" for rule, count in done.fields.items()) or "none"
    return f"gone: {len(done.recordings)} recordings; personal fields: {fields}"


def _kept(done: Applied) -> list[str]:
    return [f"kept for a legal hold: {done.held}"] if done.held else []


def clocks(settings: Settings) -> Clocks:
    """The clocks of server.yaml."""
    keep = settings.retention
    return Clocks(keep.recordings.days, keep.personal.days, keep.evidence.days)
