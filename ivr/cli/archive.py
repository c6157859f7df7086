# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr archive`: moves sealed recordings to the store that `storage.archive` names, and says how far behind it is."""

import json
import secrets
import time
from dataclasses import asdict
from pathlib import Path

import click

from ivr.cli.exits import Exit
from ivr.cli.rights_common import CouldNotRun, config_option, json_option, told
from ivr.node.archive import ArchiveStatus, alone, archiver, open_archive, run_archiver, status, tell
from ivr.node.logs import set_up_logs
from ivr.node.process import run_process
from ivr.node.settings import Settings
from ivr.vault.errors import ArchiveError, VaultError
from ivr.vault.rebuild import rebuild


@click.group()
def command() -> None:
    """Move sealed recordings to the archive, and see how far it is behind.

    Only sealed bytes leave this machine. What is not in the archive yet waits in the folder of recordings.
    """


@command.command("run")
@click.option("--once", is_flag=True, help="Look at everything once; the exit code is the verdict.")
@config_option
def run_command(once: bool, folder: Path) -> None:
    """Move what is there until SIGTERM. An archive that is away is asked again and again.

    With --once: exit code 0 when all that was due is there, 1 when something failed. It may be killed at any time.
    """
    with told():
        settings = Settings.load(folder)
        set_up_logs("archive", settings.log.level, settings.log.format, settings.log.personal)
        if not once:
            run_process(lambda stop, on_ready: run_archiver(settings, stop, on_ready))
            return
        with alone(settings):
            mover = archiver(settings)
            done = mover.round(time.time())
            tell(open_archive(settings).spool, done, None)
    click.echo(f"{done.segments} segments in {done.packs} packs moved, {done.erased} recordings removed", err=True)
    if done.error is not None:
        click.echo(f"ivr archive: {done.error}", err=True)
        raise click.exceptions.Exit(Exit.CHECK_FAILED)


@command.command("status")
@config_option
@json_option
def status_command(folder: Path, as_json: bool) -> None:
    """Show what waits on this machine, for how long, and why. Asks the archive nothing.

    Exit code 1 when an alarm is raised: nobody moves, the archive is away, too much or too long waits.
    """
    with told():
        found = status(Settings.load(folder))
    if found is None:
        raise CouldNotRun("no archive is set (storage.archive in server.yaml): recordings stay in their folder")
    click.echo(json.dumps(asdict(found)) if as_json else "\n".join(_lines(found)))
    if found.alarms:
        raise click.exceptions.Exit(Exit.CHECK_FAILED)


@command.command("check")
@click.option("--create", is_flag=True, help="Make a folder known as an archive, once (file:// only needs it).")
@config_option
def check_command(create: bool, folder: Path) -> None:
    """Write, read, list and remove one object, as the archiver would. For a new archive or new credentials."""
    with told():
        archive = open_archive(Settings.load(folder))
        if create:
            archive.remote.begin()
        name, content = f"{archive.node}/check/{secrets.token_hex(8)}/", secrets.token_bytes(64)
        archive.remote.put(name + "object", content)
        try:
            if archive.remote.get(name + "object") != content:
                raise ArchiveError("what came back is not what was sent", archive.remote.where)
            if [one.key for one in archive.remote.keys(name)] != [name + "object"]:
                raise ArchiveError("does not list what was sent", archive.remote.where)
        finally:
            archive.remote.remove(name)
        if archive.remote.keys(name):
            raise VaultError("lists what was removed", archive.remote.where)
    click.echo(f"{archive.remote.where}: can be written, read, listed and removed from, as {archive.node}")


@command.command("rebuild")
@config_option
def rebuild_command(folder: Path) -> None:
    """Make the catalog anew from what is in the archive, when this machine's disk was lost. Reads every object.

    Exit code 1 when an object cannot be read; each is named.
    """
    bad = entered = 0
    with told():
        settings = Settings.load(folder)
        with alone(settings):
            for one in rebuild(open_archive(settings), time.time()):
                entered += not one.problem
                bad += bool(one.problem)
                if one.problem:
                    click.echo(f"{one.key}: {one.problem}")
    click.echo(f"{entered} objects entered, {bad} left out; compare with the log: ivr log verify", err=True)
    if bad:
        raise click.exceptions.Exit(Exit.CHECK_FAILED)


def _lines(found: ArchiveStatus) -> list[str]:
    lines = [
        f"archive    {found.url}, as {found.node}",
        f"archiver   {'runs' if found.running else 'does not run'}",
        f"waiting    {found.waiting_segments} segments of {found.waiting_recordings} recordings, "
        f"{found.waiting_bytes} bytes{_age(found.oldest_waiting_s)}",
        f"archived   {found.archived_recordings} recordings",
        f"erasures   {found.erasures_waiting} to be done in the archive{_age(found.oldest_erasure_s)}",
    ]
    if found.last_success_s is not None:
        lines.append(f"last good  {found.last_success_s:.0f} s ago")
    if found.error is not None:
        again = "" if found.next_try_s is None else f"; again in {found.next_try_s:.0f} s"
        lines.append(f"error      {found.error}{again}")
    return [*lines, *(f"ALARM      {alarm}" for alarm in found.alarms)]


def _age(seconds: float | None) -> str:
    return "" if seconds is None else f", the oldest for {seconds:.0f} s"
