# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr log`: read the log, and check it. Checking needs the public key and a copy of the database, no server."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from ivr.audit.replay import ReplayReport, replay
from ivr.audit.source import LogSource, SourceError
from ivr.audit.verified import Unverified, verified_events
from ivr.cli.exits import Exit
from ivr.flow.place import FileError
from ivr.ledger.database import Database, DatabaseError, Postgres, database_of
from ivr.ledger.errors import LedgerError
from ivr.ledger.event import EventError
from ivr.ledger.keyring import KeyRing
from ivr.ledger.keys import load_pseudonym_key
from ivr.ledger.note import NoteError, VKey
from ivr.ledger.query import LogReader, ShownEvent
from ivr.ledger.sealed import FieldOpener
from ivr.node.settings import Settings

_Folder = click.Path(exists=True, file_okay=False, path_type=Path)
_File = click.Path(exists=True, dir_okay=False, path_type=Path)
config_option = click.option(
    "--config", "folder", type=_Folder, default=Path(), metavar="DIR", help="The server's folder (default: this one)."
)


class _DatabaseType(click.Path):
    """A file that is there, or the address of a PostgreSQL database."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            place = database_of(value) if isinstance(value, str) else value
        except DatabaseError as error:
            self.fail(str(error), param, ctx)
        return place if isinstance(place, Postgres) else super().convert(place, param, ctx)


db_option = click.option(
    "--db",
    type=_DatabaseType(exists=True, dir_okay=False, path_type=Path),
    metavar="DATABASE",
    help="A copied SQLite file, or postgresql://user@host/database?schema=name, in place of --config.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")


class CouldNotRun(click.ClickException):
    """Nothing can be said: exit code 2."""

    exit_code = int(Exit.COULD_NOT_RUN)


@contextmanager
def told() -> Iterator[None]:
    """What keeps a command from running, as a message and exit code 2."""
    try:
        yield
    except (FileError, LedgerError, NoteError, SourceError, EventError, OSError) as error:
        raise CouldNotRun(str(error)) from error


@click.group()
def command() -> None:
    """Show, verify and replay the log."""


@command.command()
@config_option
@db_option
@click.option("--call", help="Only this call; a beginning or end of its id that no other has.")
@json_option
def show(folder: Path, db: Database | None, call: str | None, as_json: bool) -> None:
    """Print events in order, one a line; with --json one object a line.

    Personal fields are shown while they are kept. Signatures are not checked here: `ivr log verify` does that.
    """
    with told(), log_reader(folder, db) as log:
        for event in log.events(log.find_call(call) if call else None):
            click.echo(json.dumps(event.as_json(), ensure_ascii=False) if as_json else line(event))


def log_reader(folder: Path, db: Database | None) -> LogReader:
    """The log of a server, with personal fields where this user may read their secrets; or a copy, without."""
    if db is not None:
        return LogReader(db)
    settings = Settings.load(folder)
    return LogReader(settings.storage.database, field_opener(settings))


def field_opener(settings: Settings) -> FieldOpener | None:
    """Opens personal fields; None for somebody who may not read the key store or its key."""
    try:
        key = load_pseudonym_key(settings.keys.pseudonym.parent)
        return FieldOpener(settings.storage.subjects, key)
    except LedgerError:
        return None


def line(event: ShownEvent) -> str:
    """`seq time call type field=value …`; personal fields follow a bar."""
    call = (event.call or "-")[:13]
    said = " ".join(f"{name}={_short(value)}" for name, value in event.data.items())
    known = " ".join(f"{name}={_short(value)}" for name, value in event.personal.items())
    gone = f" ({event.erased} personal fields erased or sealed)" if event.erased else ""
    return f"{event.seq:>7} {event.time} {call:13} {event.type:22} {said}{' | ' + known if known else ''}{gone}"


def _short(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return f"[{len(value)}]"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def what_to_check(
    folder: Path, db: Database | None, vkey: str | None, recordings: Path | None
) -> tuple[Database, VKey, Path | None]:
    """The database, the key to check it with (the one given, else the server's first), and the recordings."""
    if db is not None:
        if vkey is None:
            raise CouldNotRun("--db needs --vkey: the key that you were given, not one that came with the database")
        return db, read_vkey(vkey), recordings
    settings = Settings.load(folder)
    key = read_vkey(vkey) if vkey else KeyRing.read(settings.keys.ledger_public).first
    return settings.storage.database, key, recordings or settings.storage.recordings


def read_vkey(text: str) -> VKey:
    """A verifier key, or the file that holds one. Raises NoteError."""
    path = Path(text)
    return VKey.read(path) if len(text) < 256 and path.is_file() else VKey.parse(text)


@contextmanager
def progress(events: int, what: str = "verifying") -> Iterator[Callable[[int, int], None]]:
    if not sys.stderr.isatty():
        yield lambda _done, _all: None
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=events)
        yield lambda done, all_: bar.update(task, completed=done, total=all_)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


@command.command("replay")
@config_option
@db_option
@click.option("--vkey", metavar="KEY", help="Verifier key, or a file with it; needed with --db.")
@json_option
def replay_command(folder: Path, db: Database | None, vkey: str | None, as_json: bool) -> None:
    """Are the logged decisions those that the consent machine takes, and were samples kept only while it allowed it?

    Every call's logged inputs are run once more through the machine of the version that decided it. Each difference is
    one line that names its call and event. Exit code 0: none, 1: a difference or an event that does not hold, 2: could
    not run.
    """
    with told():
        database, key, _ = what_to_check(folder, db, vkey, None)
        with LogSource(database) as source, progress(source.events, "replaying") as advance:
            try:
                report = replay(verified_events(source, key, advance))
            except Unverified as error:
                click.echo(
                    json.dumps({"holds": False, "unverified": str(error)}) if as_json else f"unverified: {error}"
                )
                raise click.exceptions.Exit(Exit.CHECK_FAILED) from error
    click.echo(json.dumps(_replay_as_json(report)) if as_json else _replay_in_words(report))
    if not report.holds:
        raise click.exceptions.Exit(Exit.CHECK_FAILED)


def _replay_as_json(report: ReplayReport) -> dict[str, Any]:
    return {
        "holds": report.holds,
        "events": report.events,
        "calls": report.calls,
        "inputs": report.inputs,
        "decisions": report.decisions,
        "lost_calls": report.lost_calls,
        "open_calls": report.open_calls,
        "differences": [difference.as_json() for difference in report.differences],
    }


def _replay_in_words(report: ReplayReport) -> str:
    lines = [str(difference) for difference in report.differences]
    said = f"{report.inputs} inputs of {report.calls} calls give {report.decisions} logged decisions"
    some = (
        f" ({report.lost_calls} lost, {report.open_calls} not over)" if report.lost_calls or report.open_calls else ""
    )
    verdict = "REPLAYS." if report.holds else f"DIFFERS: {len(lines)} differences."
    return "\n".join([*lines, f"{verdict} {said}{some}"])


@command.command()
@config_option
@db_option
def checkpoint(folder: Path, db: Database | None) -> None:
    """Print the newest signed checkpoint. Keep it somewhere else: a log that was cut or rewritten cannot match it."""
    with told(), log_reader(folder, db) as log:
        note = log.checkpoint()
    if note is None:
        raise CouldNotRun("this log has no checkpoint: it is not as it was made, run: ivr log verify")
    click.echo(note, nl=False)
