# SPDX-License-Identifier: GPL-3.0-or-later
"""`make bench-peer`: the same calls on our server and on a reference, one after the other on the same machine.

The reference is Asterisk with MixMonitor, started here with the configuration in bench/asterisk, or any server that is
running already and answers 700 by ringing the agent. Nobody installs it: without one, only how to point at one is said.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import click
from rich.console import Console
from rich.table import Table

from bench.capacity import LATE_S, RATE, SETTLE_S
from bench.cost import Cost, used
from bench.crowd import Crowd, roles
from bench.figures import Against, Figure
from bench.machine import Busy, describe
from bench.parties import CompilerMissing
from bench.peer_checks import bridged, mixed_files, sealed_recordings
from bench.peer_voices import Side, Talkers
from bench.phones import Ring
from bench.served import address as rung_at
from bench.served import write_notice
from bench.sipp import Sipp, SippMissing
from bench.wire import Address
from demo.server import answers_sip, free_port, ivr

_CONFIG = Path(__file__).with_name("asterisk")
AGENT_PORT = 39_900
"""Where agents are rung by a reference that runs already."""
BRIDGED_S = 6.0
"""From a call's INVITE until a reference has long bridged it."""
BEFORE_S = (2.0, 10.0)
"""What of a call passes before its recording begins, at least and, on a busy machine, at most: the notice has 2.4 s."""
LEAST_S = 6.0
"""Four seconds of a line are compared with the other side's voice, and they have to have come in the measured time."""
SHOWN = 8
"""So many complaints of a run are printed."""

ABSENT = f"""no reference: Asterisk is not in PATH. One of
  make bench-peer ARGS="--asterisk /path/to/asterisk"
  make bench-peer ARGS="--address 127.0.0.1:5070 --pid PID"   a server that runs, records, and for a call to 700
                                                               rings sip:agent@127.0.0.1:{AGENT_PORT}"""


@dataclass
class Run:
    """What came out of some calls on one server. `wrong` holds what was not as it has to be, in words."""

    cost: Cost
    failed: int
    answers: list[float]
    sides: tuple[Side, Side]
    wrong: list[str] = field(default_factory=list)

    @property
    def gaps(self) -> list[float]:
        """Each line's longest, ms."""
        return [line.gap_ms for side in self.sides for line in side.lines]


def length(calls: int, seconds: float) -> float:
    """How long each call is, so that all stand for `seconds` after the last one was set up."""
    return calls / RATE + LATE_S + seconds


def kept(calls: int, seconds: float) -> tuple[float, float]:
    """How long the recording of such a call is, at least and at most."""
    least, most = BEFORE_S
    return length(calls, seconds) - most, length(calls, seconds) - least


@contextmanager
def asterisk(program: str, folder: Path, agent_port: int) -> Iterator[tuple[Address, int]]:
    """A running Asterisk of our own; its address and process id."""
    (folder / "run").mkdir(parents=True)
    port = free_port(6_000, 7_000)
    values = {"@HERE@": str(folder), "@PORT@": str(port), "@AGENT@": str(agent_port)}
    for file in _CONFIG.glob("*.conf"):
        text = file.read_text()
        for name, value in values.items():
            text = text.replace(name, value)
        (folder / file.name).write_text(text)
    write_notice(folder / "notice.wav")
    with (folder / "out").open("wb") as out:
        command = [program, "-f", "-C", str(folder / "asterisk.conf")]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 60
        while not answers_sip(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise OSError(f"{program} does not answer:\n{(folder / 'out').read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)
        pid = int((folder / "run/asterisk.pid").read_text())
        if pid not in family(process.pid):
            # A pid namespace, or a daemon: what would be measured is not what works.
            raise OSError(f"{program} says it is process {pid}, which is not {process.pid} and none of its children")
        yield ("127.0.0.1", port), process.pid
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def family(pid: int) -> set[int]:
    """A process and its descendants."""
    found = {pid}
    with suppress(OSError):
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in children.read_text().split():
                found |= family(int(child))
    return found


def reference(phones: Talkers, server: Address, pid: int, calls: int, seconds: float) -> Run:
    """These calls on the reference."""
    with phones.ring(server, Ring(calls, RATE, length(calls, seconds))) as callers:
        time.sleep(calls / RATE + BRIDGED_S + SETTLE_S)
        return _measured(phones, callers, calls, seconds, lambda: {"reference": family(pid)})


def ours(folder: Path, calls: int, seconds: float) -> Run:
    """The same calls on our server."""
    phones = Talkers(folder / "talkers")
    with Crowd(folder, calls, phones=phones) as crowd:
        log, first = crowd.server.log, crowd.server.log.next
        ring = Ring(calls, RATE, length(calls, seconds))
        with phones.ring(rung_at(crowd.server), ring) as callers:
            with suppress(AssertionError):  # what is missing is told by what was heard, and by the recordings
                log.wait("recording.started", within=calls / RATE + LATE_S / 2, since=first, count=calls)
            time.sleep(SETTLE_S)
            run = _measured(phones, callers, calls, seconds, lambda: roles(crowd.server))
        with suppress(AssertionError):
            log.wait("call.ended", within=60, since=first, count=calls)
        run.wrong += sealed_recordings(crowd.server, calls, kept(calls, seconds))
        verified = ivr("log", "verify", "--config", crowd.server.folder, within=300)
        if verified.status:
            run.wrong.append(f"ivr log verify: {(verified.out + verified.err)[-300:]}")
    return run


def _measured(
    phones: Talkers, callers: Sipp, calls: int, seconds: float, processes: Callable[[], dict[str, set[int]]]
) -> Run:
    with phones.counted():
        cost = used(processes(), calls, seconds)
    finished = callers.finish(length(calls, seconds) + 60)
    failed = calls - phones.succeeded()
    sides = phones.told()
    run = Run(cost, failed, phones.answer_ms(), sides, list(bridged(*sides, calls)))
    if failed or not finished:
        run.wrong.append(f"{failed} calls failed: {callers.told[:1000]}")
    return run


def beside(place: Path, program: str, calls: int, seconds: float) -> Run:
    """The same calls on an Asterisk that is started for them."""
    with (
        Talkers(place / "phones") as phones,
        asterisk(program, place / "asterisk", phones.agent_port) as (server, process),
    ):
        run = reference(phones, server, process, calls, seconds)
    # Asterisk has ended: its files are closed.
    files = sorted((place / "asterisk/run").glob("*.wav"))
    run.wrong += mixed_files(files, calls, kept(calls, seconds))
    if run.wrong:
        said = (place / "asterisk/out").read_text(errors="replace").partition("Asterisk Ready.")[2]
        run.wrong.insert(0, f"Asterisk says: {said.strip()[-1000:]}")
    return run


def running(place: Path, address: str, pid: int, calls: int, seconds: float) -> Run:
    """The same calls on a server that runs already. Its recordings are its own affair: they are not looked at."""
    host, _, port = address.rpartition(":")
    with Talkers(place / "phones", AGENT_PORT) as phones:
        return reference(phones, (host, int(port)), pid, calls, seconds)


@click.command()
@click.option("--asterisk", "program", help="The Asterisk to start. Default: the one in PATH.")
@click.option("--address", help="HOST:PORT of a reference that runs already.")
@click.option("--pid", type=int, help="Its process.")
@click.option("--calls", "sizes", multiple=True, type=int, default=(100,), show_default=True, help="Calls at once.")
@click.option("--rounds", default=1, show_default=True, help="How often each; the servers take turns.")
@click.option(
    "--seconds", type=click.FloatRange(min=LEAST_S), default=20.0, show_default=True, help="How long they are measured."
)
def main(
    program: str | None, address: str | None, pid: int | None, sizes: tuple[int, ...], rounds: int, seconds: float
) -> None:
    """CPU-seconds a recorded bridged call-minute, ours and a reference's. Exit status 1 when one was not so."""
    if (address is None) != (pid is None):
        raise click.UsageError("--address and --pid go together")
    program = program or shutil.which("asterisk")
    if program is None and address is None:
        click.echo(ABSENT, err=True)
        sys.exit(2)
    runs: dict[tuple[int, str], list[Run]] = {}
    talk = Console(stderr=True, highlight=False)
    with tempfile.TemporaryDirectory(prefix="assent-peer-") as folder:
        machine, busy = dict(describe(Path(folder))), Busy()
        try:
            for number in range(rounds * len(sizes)):
                calls, place = sizes[number % len(sizes)], Path(folder) / str(number)
                pair = {"Assent": ours(place / "ours", calls, seconds)}
                if address is not None and pid is not None:
                    pair["reference"] = running(place, address, pid, calls, seconds)
                else:
                    pair["Asterisk"] = beside(place, str(program), calls, seconds)
                for name, run in pair.items():
                    runs.setdefault((calls, name), []).append(run)
                    talk.print(f"{calls} calls, {name}: {run.cost.total:.3f} s, {run.failed} failed", style="dim")
                    for wrong in run.wrong[:SHOWN]:
                        talk.print(f"  {wrong}", style="red", markup=False)
        except (SippMissing, CompilerMissing, OSError) as error:
            click.echo(f"bench-peer: {error}", err=True)
            sys.exit(2)
    out = Console(width=None if sys.stdout.isatty() else 170, highlight=False)
    out.print(_table(runs))
    machine |= dict(busy.shares())
    out.print(", ".join(f"{name} {value}" for name, value in machine.items()), style="dim")
    if any(run.wrong for several in runs.values() for run in several):
        talk.print("bench-peer: calls were not as they have to be; of such a run the figures mean little", style="red")
        sys.exit(1)


def _table(runs: dict[tuple[int, str], list[Run]]) -> Table:
    made = Table(title="recorded bridged G.711 calls", title_justify="left")
    for name in (
        "calls",
        "",
        "CPU-seconds a call-minute",
        "MB a call (PSS)",
        "failed",
        "INVITE → 200, ms: median, p99",
    ):
        made.add_column(name)
    made.add_column("longest gap, ms: median, p99")
    made.add_column("CPU: of it")
    for (calls, name), several in runs.items():
        totals = [run.cost.total for run in several]
        spread = f" ({min(totals):.3f} to {max(totals):.3f})" if len(totals) > 1 else ""
        parts = ", ".join(
            f"{role} {median(run.cost.parts[role] for run in several):.3f}" for role in several[0].cost.parts
        )
        made.add_row(
            str(calls),
            name,
            f"{median(totals):.3f}{spread}",
            f"{median(run.cost.memory for run in several):.2f}",
            str(sum(run.failed for run in several)),
            _both([value for run in several for value in run.answers]),
            _both([value for run in several for value in run.gaps]),
            parts,
        )
    return made


def _both(values: list[float]) -> str:
    figure = Figure("", "ms", values)
    return ", ".join("-" if (got := figure.at(at)) is None else f"{got:.0f}" for at in (Against.MEDIAN, Against.P99))


if __name__ == "__main__":
    main()
