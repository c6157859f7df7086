# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m bench`: starts real servers in a throw-away folder, rings them, prints one table."""

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from bench import capacity, evidence, latency, load, pool, replay_speed, sipp, withdraw
from bench.figures import Against, Figure, Verdict
from bench.machine import Busy, describe
from bench.parties import CompilerMissing
from bench.phone import Agent
from bench.served import LANES, create

_STYLE = {Verdict.MET: "green", Verdict.MISSED: "bold red", Verdict.NONE: "dim"}


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured. `calls` and `withdrawals` in all, times in seconds; `most` bounds each kind of call."""

    calls: int
    opt_outs: int
    withdrawals: int
    rounds: int
    bridged: float
    append: float
    audits: int
    most: float
    deaths: int
    idle: float
    capacity: capacity.Plan


_CROWDS = capacity.Plan(sizes=(10, 100, 180, 250), hold=20, short_rate=60, short_seconds=60)
_FEW = capacity.Plan(sizes=(4, 10), hold=5, short_rate=5, short_seconds=5)

FULL = Size(
    calls=100,
    opt_outs=60,
    withdrawals=24,
    rounds=2,
    bridged=20,
    append=5,
    audits=3,
    most=45,
    deaths=10,
    idle=30,
    capacity=_CROWDS,
)
QUICK = Size(
    calls=10,
    opt_outs=6,
    withdrawals=4,
    rounds=1,
    bridged=8,
    append=1,
    audits=1,
    most=20,
    deaths=2,
    idle=5,
    capacity=_FEW,
)

PARTS = ("cost", "latency", "evidence", "pool", "capacity")


def run(folder: Path, size: Size, parts: tuple[str, ...]) -> Iterator[Figure]:
    """Each figure as it is known."""
    if "cost" in parts:
        yield from load.measure(folder / "cost", size.rounds, size.bridged)
    if "latency" in parts or "evidence" in parts:
        yield from _wire(folder, size, parts)
    if "pool" in parts:
        yield from pool.measure(folder / "pool", size.deaths, size.idle)
    if "capacity" in parts:
        yield from capacity.measure(folder / "capacity", size.capacity)


def _wire(folder: Path, size: Size, parts: tuple[str, ...]) -> Iterator[Figure]:
    agents = [Agent(withdraw.voice) for _ in range(LANES)]
    server = create(folder / "wire", [agent.uri for agent in agents])
    try:
        with server:
            server.start()
            if "latency" in parts:
                yield from latency.set_up(server, agents, size.calls, size.most)
                yield from latency.opt_out(server, agents, size.opt_outs, size.most)
            # Evidence needs some of these too: a ledger is measured with the events of a real recorded call.
            calls = size.withdrawals if "latency" in parts else LANES
            yield from withdraw.withdrawals(server, agents, calls, size.most)
            yield evidence.armed(server)
            if "evidence" in parts:
                yield from evidence.appended(server, size.append)
    finally:
        for agent in agents:
            agent.close()
    if "evidence" in parts:
        yield from evidence.audited(server, size.audits)
        yield from replay_speed.measure(repeats=size.audits)


def table(figures: list[Figure]) -> Table:
    """For people."""
    made = Table(title="assent bench", title_justify="left")
    for name, justify in (("", "left"), ("n", "right"), *((a.value, "right") for a in Against), ("unit", "left")):
        made.add_column(name, justify=justify)  # type: ignore[arg-type]
    for name in ("target", "verdict", "note"):
        made.add_column(name)
    group = ""
    for figure in figures:
        if group and figure.group != group:
            made.add_section()
        group = figure.group
        numbers = ["" if (got := figure.at(a)) is None else f"{got:,.{figure.digits}f}" for a in Against]
        target = str(figure.target) if figure.target else ""
        verdict = f"[{_STYLE[figure.verdict]}]{figure.verdict}[/]"
        made.add_row(figure.name, str(figure.n), *numbers, figure.unit, target, verdict, figure.note)
    return made


def report(figures: list[Figure], machine: Mapping[str, object]) -> str:
    """For programs."""
    return json.dumps({"machine": machine, "figures": [figure.as_json() for figure in figures]}, ensure_ascii=False)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON with every single value.")
@click.option("--quick", is_flag=True, help="Few repetitions, about a minute: does it run, not how fast is it.")
@click.option("--only", "parts", multiple=True, type=click.Choice(PARTS), help="Only this part; may be repeated.")
@click.option("--strict", is_flag=True, help="Exit with 1 when a target is missed.")
@click.option("--output", type=click.Path(path_type=Path), help="Also write the JSON to this file.")
def main(as_json: bool, quick: bool, parts: tuple[str, ...], strict: bool, output: Path | None) -> None:
    """Measure calls, latencies and evidence of the checked-out code, in about a quarter of an hour."""
    talk = Console(stderr=True)
    began = time.monotonic()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="assent-bench-") as place:
        machine = dict(describe(Path(place)))
        busy = Busy()
        try:
            for figure in run(Path(place), QUICK if quick else FULL, parts or PARTS):
                figures.append(figure)
                talk.print(f"{time.monotonic() - began:6.1f} s  {figure.name}", style="dim", highlight=False)
        except (sipp.SippMissing, CompilerMissing) as error:
            talk.print(str(error), style="red")
            sys.exit(2)
    machine |= dict(busy.shares()) | {"seconds": round(time.monotonic() - began)}
    text = report(figures, machine)
    if output is not None:
        output.write_text(text + "\n")
    if as_json:
        click.echo(text)
    else:
        width = None if sys.stdout.isatty() else 170
        out = Console(width=width)
        out.print(table(figures))
        out.print(", ".join(f"{name} {value}" for name, value in machine.items()), style="dim", highlight=False)
    sys.exit(strict and any(figure.verdict is Verdict.MISSED for figure in figures))


if __name__ == "__main__":
    main()
