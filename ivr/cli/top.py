# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr top`: calls, who of them is recorded and why not, workers, latencies and alarms, as they are now."""

import asyncio
import json
import sys
import termios
import tty
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.live import Live

from ivr.cli.exits import Exit
from ivr.flow.place import FileError
from ivr.node.observe.frame import frame
from ivr.node.observe.gather import Gatherer
from ivr.node.observe.problems import problems
from ivr.node.observe.screen import screen
from ivr.node.observe.snapshot import Snapshot
from ivr.node.pool.control import ControlError, ask
from ivr.node.settings import Settings

EVERY_S = 1.0
WATCH_EVERY = 10
"""The alarms of `ivr log watch` change slowly: they are asked for with each so many-th frame."""

ANSWER_S = 2.0
QUIT = frozenset({"q", "Q", "\x03", "\x04"})


@click.command()
@click.option("--config", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="The server's folder.")
@click.option("--once", is_flag=True, help="Print one frame and end.")
@click.option("--json", "as_json", is_flag=True, help="Print one frame as JSON and end.")
def command(config: Path, once: bool, as_json: bool) -> None:
    """Show a running server: calls, who is recorded and why not, workers, latencies, alarms. `q` ends it.

    A call's reason is a word of the log. Below 110 columns only the last 12 digits of its id are shown: `ivr call show`
    takes those. Latencies are medians and 95th percentiles: in the live view of the last minute, else since the ledger
    started, as are calls that ended, blocked or failed. The edge's counts are since it started. Nothing personal is
    shown.
    """
    try:
        settings = Settings.load(config)
    except FileError as error:
        click.echo(f"ivr top: {error}", err=True)
        raise click.exceptions.Exit(Exit.COULD_NOT_RUN) from error
    live = not (once or as_json)
    if live and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError("this is no terminal: --once prints one frame, --json one for programs")
    if not asyncio.run(_Top(settings).run(live=live, as_json=as_json)):
        click.echo("ivr top: nothing of this server answers; is it running?", err=True)
        raise click.exceptions.Exit(Exit.COULD_NOT_RUN)


class _Top:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._gatherer = Gatherer(settings, self._pool, name="top")
        self._alarms: dict[str, int] = {}
        self._frames = 0
        self._earlier: list[Snapshot] = []

    def _pool(self) -> Mapping[str, Any] | str:
        try:
            status: dict[str, Any] = ask(self._settings.pool.control, {"op": "status"}, ANSWER_S)["status"]
        except ControlError as error:
            return str(error)
        return status

    async def run(self, *, live: bool, as_json: bool) -> bool:
        """False when neither the pool nor the ledger answered."""
        try:
            if live:
                await self._live()
                return True
            shown, answered = await self._frame()
            console = Console()
            if as_json:
                click.echo(json.dumps(shown))
            else:
                console.print(screen(shown, console.width, max(console.height, 200)))
            return answered
        finally:
            self._gatherer.close()

    async def _frame(self) -> tuple[dict[str, Any], bool]:
        if self._frames % WATCH_EVERY == 0:
            self._alarms = await asyncio.to_thread(_alarms, self._settings)
        self._frames += 1
        snapshot = await self._gatherer.snapshot()
        before = self._earlier[0] if self._earlier else None
        self._earlier = [*self._earlier, snapshot][-round(60 / EVERY_S) :]
        found = problems(snapshot, self._settings, self._alarms)
        return frame(snapshot, found, before), snapshot.pool is not None or snapshot.ledger is not None

    async def _live(self) -> None:
        console, quitting = Console(), asyncio.Event()
        with _keys(quitting), Live(console=console, screen=True, auto_refresh=False) as view:
            while not quitting.is_set():
                shown, _ = await self._frame()
                view.update(screen(shown, console.width, console.height), refresh=True)
                try:
                    async with asyncio.timeout(EVERY_S):
                        await quitting.wait()
                except TimeoutError:
                    continue


@contextmanager
def _keys(quitting: asyncio.Event) -> Iterator[None]:
    """Keys come one by one and are not shown; the terminal is as it was afterwards."""
    stdin, loop = sys.stdin.fileno(), asyncio.get_running_loop()
    before = termios.tcgetattr(stdin)

    def pressed() -> None:
        key = sys.stdin.read(1)
        if not key or key in QUIT:
            quitting.set()

    tty.setcbreak(stdin)
    loop.add_reader(stdin, pressed)
    try:
        yield
    finally:
        loop.remove_reader(stdin)
        termios.tcsetattr(stdin, termios.TCSADRAIN, before)


def _alarms(settings: Settings) -> dict[str, int]:
    """What the metrics endpoint serves of `ivr log watch`; nothing when there is none."""
    at = settings.metrics
    if not at.port:
        return {}
    host = "127.0.0.1" if at.address == "0.0.0.0" else at.address
    try:
        with urllib.request.urlopen(f"http://{host}:{at.port}/metrics", timeout=ANSWER_S) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
    except (OSError, ValueError):
        return {}
    samples = (sample for family in families if family.name == "assent_alarms" for sample in family.samples)
    return {sample.labels["alarm"]: int(sample.value) for sample in samples}
