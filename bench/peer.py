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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from bench.capacity import RATE, SETTLE_S
from bench.cost import Cost, used
from bench.crowd import Crowd, roles
from bench.parties import CompilerMissing
from bench.phones import Phones, Ring
from bench.served import write_notice
from bench.sipp import SippMissing
from bench.wire import Address
from demo.server import answers_sip, free_port

_CONFIG = Path(__file__).with_name("asterisk")
AGENT_PORT = 39_900
"""Where agents are rung by a reference that runs already."""

ABSENT = f"""no reference: Asterisk is not in PATH. One of
  make bench-peer ARGS="--asterisk /path/to/asterisk"
  make bench-peer ARGS="--address 127.0.0.1:5070 --pid PID"   a server that runs, records, and for a call to 700
                                                               rings sip:agent@127.0.0.1:{AGENT_PORT}"""


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
        yield ("127.0.0.1", port), process.pid
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def reference(phones: Phones, server: Address, pid: int, calls: int, seconds: float) -> Cost:
    """What the reference uses for these calls. Raises AssertionError when one fails."""
    up = calls / RATE
    with phones.ring(server, Ring(calls, RATE, up + SETTLE_S + seconds + 12)) as callers:
        time.sleep(up + SETTLE_S + 6)
        cost = used({"reference": {pid}}, calls, seconds)
        if not callers.finish(up + seconds + 60):
            raise AssertionError(f"calls failed on the reference: {callers.told}")
    return cost


def ours(folder: Path, calls: int, seconds: float) -> Cost:
    """What our server uses for the same calls."""
    with Crowd(folder, calls) as crowd:
        first = crowd.server.log.next
        up = calls / RATE
        with crowd.ring(Ring(calls, RATE, up + SETTLE_S + seconds + 12)) as callers:
            try:
                crowd.wait_recording(calls, first, within=up + 30)
            except AssertionError as error:
                raise AssertionError(f"not all calls were recorded: {callers.told}") from error
            time.sleep(SETTLE_S)
            cost = used(roles(crowd.server), calls, seconds)
            if not callers.finish(up + seconds + 60):
                raise AssertionError(f"calls failed: {callers.told}")
    return cost


@click.command()
@click.option("--asterisk", "program", help="The Asterisk to start. Default: the one in PATH.")
@click.option("--address", help="HOST:PORT of a reference that runs already.")
@click.option("--pid", type=int, help="Its process.")
@click.option("--calls", default=100, show_default=True, help="Calls at once.")
@click.option("--seconds", default=20.0, show_default=True, help="How long they are measured.")
def main(program: str | None, address: str | None, pid: int | None, calls: int, seconds: float) -> None:
    """CPU-seconds a recorded bridged call-minute, ours and a reference's."""
    if (address is None) != (pid is None):
        raise click.UsageError("--address and --pid go together")
    program = program or shutil.which("asterisk")
    if program is None and address is None:
        click.echo(ABSENT, err=True)
        sys.exit(2)
    with tempfile.TemporaryDirectory(prefix="assent-peer-") as place:
        try:
            costs = {"Assent": ours(Path(place) / "ours", calls, seconds)}
            with Phones(Path(place) / "phones", AGENT_PORT if address else None) as phones:
                if address is not None and pid is not None:
                    host, _, port = address.rpartition(":")
                    costs["reference"] = reference(phones, (host, int(port)), pid, calls, seconds)
                else:
                    with asterisk(str(program), Path(place) / "asterisk", phones.agent_port) as (server, process):
                        costs["Asterisk"] = reference(phones, server, process, calls, seconds)
        except (SippMissing, CompilerMissing, OSError) as error:
            click.echo(f"bench-peer: {error}", err=True)
            sys.exit(2)
    Console().print(_table(costs, calls))


def _table(costs: dict[str, Cost], calls: int) -> Table:
    made = Table(title=f"{calls} recorded bridged G.711 calls", title_justify="left")
    for name in ("", "CPU-seconds a call-minute", "MB a call (PSS)", "of it"):
        made.add_column(name)
    for name, cost in costs.items():
        parts = ", ".join(f"{role} {part:.3f}" for role, part in cost.parts.items())
        made.add_row(name, f"{cost.total:.3f}", f"{cost.memory:.1f}", parts)
    return made


if __name__ == "__main__":
    main()
