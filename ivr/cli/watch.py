# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr log watch`: alarms, once or for ever."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from ivr.audit.gauges import prometheus
from ivr.audit.source import LogSource
from ivr.audit.watch import Raised, watch
from ivr.cli.exits import Exit
from ivr.cli.rights_common import config_option, json_option, told
from ivr.node.archive_audit import listed
from ivr.node.settings import Settings


@click.command("watch")
@click.option("--once", is_flag=True, help="Look once; the exit code is the verdict.")
@click.option("--every", type=click.IntRange(1), default=60, show_default=True, help="Seconds between two looks.")
@click.option("--prometheus", "as_gauges", is_flag=True, help="Look once and print gauges in Prometheus's text format.")
@click.option(
    "--gauges",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the gauges to this file; the metrics endpoint serves run/watch.prom.",
)
@config_option
@json_option
def watch_command(once: bool, every: int, as_gauges: bool, gauges: Path | None, folder: Path, as_json: bool) -> None:
    """Raise an alarm for what must not be: recordings without permit, files and log apart, late answers or checkpoints.

    Each alarm is one line. With --once: exit code 0 for none, 1 for any. Else it looks until it is stopped, prints
    what is new and, on stderr, what is over; it ends with 1 when an alarm stands. With --prometheus the gauges are the
    verdict: exit code 0 for any.
    """
    if as_gauges:
        if as_json:
            raise click.UsageError("--prometheus and --json: choose one")
        click.echo(prometheus(_look(folder), datetime.now(UTC)), nl=False)
        return
    _keep_looking(folder, once=once, every=every, as_json=as_json, gauges=gauges)


def _keep_looking(folder: Path, *, once: bool, every: int, as_json: bool, gauges: Path | None) -> None:
    standing: set[Raised] = set()
    try:
        while True:
            found = _look(folder)
            if gauges is not None:
                _write(gauges, prometheus(found, datetime.now(UTC)))
            for one in found:
                if one not in standing:
                    click.echo(json.dumps(one.as_json()) if as_json else str(one))
            for one in standing - set(found):
                click.echo(f"over: {one}", err=True)
            standing = set(found)
            if once:
                break
            time.sleep(every)
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
    if standing:
        raise click.exceptions.Exit(Exit.CHECK_FAILED)
    if once and not as_json:
        click.echo("no alarms", err=True)


def _write(file: Path, text: str) -> None:
    """Put in place whole, for the owner's group to read: the pool's user is in it, and reads no log."""
    part = file.with_name(f"{file.name}.new")
    with told():
        part.write_text(text)
        part.chmod(0o640)
        part.replace(file)


def _look(folder: Path) -> list[Raised]:
    with told():
        settings = Settings.load(folder)
        interval = timedelta(milliseconds=settings.ledger.checkpoint.interval.ms)
        with LogSource(settings.storage.database) as source:
            there = listed(settings)
            more = (there.names,) if there else ()
            return watch(source, settings.storage.recordings, datetime.now(UTC), interval, *more)
