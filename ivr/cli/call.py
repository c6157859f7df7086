# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr call`: the calls of a log, and one call as a timeline that a person can read. Proof is `ivr log verify`."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from ivr.audit.timeline import headline, sentence
from ivr.cli.export import export_call, report_call
from ivr.cli.log import config_option, db_option, json_option, log_reader, told
from ivr.ledger.database import Database
from ivr.ledger.query import CallSummary, ShownEvent


@click.group()
def command() -> None:
    """List calls, read one as a timeline, hand one over."""


command.add_command(export_call)
command.add_command(report_call)


@command.command("list")
@config_option
@db_option
@click.option("--limit", type=click.IntRange(1), help="Only the newest calls.")
@json_option
def list_calls(folder: Path, db: Database | None, limit: int | None, as_json: bool) -> None:
    """Print the calls, oldest first; with --json one object a line."""
    with told(), log_reader(folder, db) as log:
        calls = log.calls(limit)
    for call in calls:
        click.echo(json.dumps(call.as_json(), ensure_ascii=False) if as_json else line(call))
    if not calls and not as_json:
        click.echo("no calls yet", err=True)


def line(call: CallSummary) -> str:
    """`id received outcome recorded flow caller → dialled`; `-` for what was erased or is sealed."""
    recorded = "recorded" if call.recorded else "not recorded"
    people = f"{call.caller or '-'} → {call.dialled or '-'}"
    return f"{call.call} {call.received[:19]}Z {call.outcome:9} {recorded:12} {call.flow}: {people}"


@command.command("show")
@click.argument("call_id", metavar="ID")
@config_option
@db_option
@json_option
def show(call_id: str, folder: Path, db: Database | None, as_json: bool) -> None:
    """Print one call as a timeline: when, what happened, by whom and why; recorded or not as the headline.

    ID is a call's id, or a beginning or an end of it that no other call has: the last 12 digits, as in `ivr top`, do.
    """
    with told(), log_reader(folder, db) as log:
        call = log.find_call(call_id)
        events = list(log.events(call))
    verdict = headline((event.type, event.data) for event in events)
    if as_json:
        lines = [{**event.as_json(), "sentence": sentence(event.type, event.data, event.personal)} for event in events]
        click.echo(json.dumps({"call": call, "headline": verdict, "events": lines}, ensure_ascii=False))
        return
    click.echo("\n".join([f"call {call}", verdict, "", *timeline(events)]))


def timeline(events: Sequence[ShownEvent]) -> list[str]:
    """`time +offset sentence`, an event a line; the offset is from the call's first event, on the worker's clock."""
    return [
        f"{event.time[11:23]}  {_offset(event):>9}  {sentence(event.type, event.data, event.personal)}"
        for event in events
    ]


def _offset(event: ShownEvent) -> str:
    at_ms = event.data.get("at_ms")
    return f"+{at_ms / 1000:.3f}" if isinstance(at_ms, int) else ""
