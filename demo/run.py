# SPDX-License-Identifier: GPL-3.0-or-later
"""`make demo`: a real server, four real calls, and then the proof. Exit code 1 when anything is not as promised."""

import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.rule import Rule
from rich.table import Table

from demo.driver import Peer, PeerRefused, PeerTimeout
from demo.hand_over import erasure, receipt, report
from demo.logtail import LogTail, LogTimeout
from demo.scenes import SCENES, Scene, flows
from demo.server import Server, ServerFailed
from demo.stage import AGENT_HZ, CALLER_HZ, Stage
from demo.verdict import Verdict, judge
from ivr.audit.timeline import sentence

_COLOURS = {scene.number: colour for scene, colour in zip(SCENES, ("cyan", "magenta", "green", "yellow"), strict=True)}
_AT_A_TIME = 2  # the bridged calls that one worker carries


class Show:
    """The timeline in the terminal: events of the log as they arrive, and what the people do."""

    def __init__(self, console: Console, server: Server) -> None:
        self._console = console
        self._log = LogTail(server.log.path)
        self._start = time.monotonic()
        self._calls: dict[str, str] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def said(self, number: str, text: str, style: str = "bold") -> None:
        """One line of a call."""
        colour = _COLOURS[number]
        at = time.monotonic() - self._start
        self._console.print(
            f"[dim]{at:6.1f} s[/]  [{colour}]call {number}[/]  [{style}]{escape(text)}[/]", highlight=False
        )

    def _follow(self) -> None:
        while not self._end.wait(0.1):
            self._print_new()
        self._print_new()

    def _print_new(self) -> None:
        for event in self._log.poll():
            if event.type == "call.received":
                self._calls[event.call or ""] = str(event.personal["dialled"])
            if number := self._calls.get(event.call or ""):
                self.said(number, sentence(event.type, event.data, event.personal), "not bold")

    def close(self) -> None:
        """Prints what is left and ends."""
        self._end.set()
        self._thread.join()


def play(scene: Scene, server: Server, agent: Peer, show: Show) -> Stage:
    """One call, to its end."""
    caller = Peer(f"caller-{scene.number}", tone=CALLER_HZ)
    with caller:
        log = LogTail(server.log.path)
        stage = Stage(
            caller, agent, scene.agent, server.uri(scene.number), log, lambda text: show.said(scene.number, text)
        )
        scene.play(stage)
    return stage


def prove(console: Console, server: Server) -> list[str]:
    """Verifies and replays the log as an auditor would; what does not hold."""
    wrong = []
    for command in ("verify", "replay"):
        done = server.ivr("log", command)
        console.print(Rule(f"ivr log {command}", align="left", style="dim"))
        console.print((done.out + done.err).strip(), highlight=False, markup=False)
        if done.status:
            wrong.append(f"ivr log {command} ended with {done.status}")
    return wrong


def hand_over(console: Console, server: Server, call: str, folder: Path) -> list[str]:
    """What people outside get of the first call, and its erasure; what was not as promised."""
    console.print()
    events = LogTail(server.log.path).of(call)
    permit = next((event for event in events if event.type == "recording.permitted"), None)
    if permit is None:
        return ["the first call has no permit"]
    steps = {
        "receipt of its permit, checked with the verifier key alone; a forged one is refused": receipt(
            server, permit, folder
        ),
        "report, one file, with both parties' sound": report(server, call, folder),
        "erasure of its recording: not even the officer opens it any more": erasure(
            server, str(permit.data["recording"]), folder
        ),
    }
    wrong = []
    for title, findings in steps.items():
        found = list(findings)
        verdict = "[bold red]" + "; ".join(found) + "[/]" if found else "[green]as promised[/]"
        console.print(f"call 101: {title}: {verdict}", highlight=False)
        wrong += found
    return wrong


def table(verdicts: list[Verdict]) -> Table:
    """One row a call."""
    view = Table(show_lines=True)
    for name in ("call", "promised", "what the log says", "recording", "left: caller", "right: agent", "verdict"):
        view.add_column(name, overflow="fold")
    for verdict in verdicts:
        scene = verdict.scene
        tape = verdict.tapes[0] if verdict.tapes else None
        cells = (f"{tape.seconds:.2f} s", str(tape.left), str(tape.right)) if tape else ("none", "", "")
        judged = "[green]as promised[/]" if not verdict.wrong else "[bold red]" + "; ".join(verdict.wrong) + "[/]"
        view.add_row(f"{scene.number}: {scene.title}", scene.promise, verdict.said, *cells, judged)
    return view


def perform(console: Console, folder: Path) -> list[str]:
    """The whole demo in `folder`. Returns everything that was not as promised."""
    begun = time.monotonic()
    server = Server(folder / "server")
    with ExitStack() as stack:
        agent = stack.enter_context(Peer("agent", tone=AGENT_HZ))
        agent.incoming("answer", after_ms=800)
        server.create(flows(agent.port), {"ledger": {"checkpoint": {"interval": "2s"}}})
        console.print(f"A new server in {server.folder}: keys, log, four flows. Its prompts are being spoken …")
        stack.enter_context(server)
        server.start()
        console.print(
            f"It listens on sip:127.0.0.1:{server.port}. Callers say {CALLER_HZ} Hz, the agent {AGENT_HZ} Hz.\n"
        )
        show = Show(console, server)
        stack.callback(show.close)
        with ThreadPoolExecutor(_AT_A_TIME) as lanes:
            # Longest first, so that both lanes end together.
            playing = {
                scene: lanes.submit(play, scene, server, agent, show)
                for scene in sorted(SCENES, key=lambda scene: scene.seconds, reverse=True)
            }
        stages = [playing[scene].result() for scene in SCENES]
        show.close()
        # While the ledger runs: a recording is opened only once the log says by whom and why.
        verdicts = [judge(scene, stage, server, folder) for scene, stage in zip(SCENES, stages, strict=True)]
        wrong = hand_over(console, server, stages[0].call, folder)
    wrong += prove(console, server)
    console.print(Rule("recordings decrypted with the officer's identity", align="left", style="dim"))
    console.print(table(verdicts))
    console.print(f"[dim]{time.monotonic() - begun:.0f} s in all[/]", highlight=False)
    return wrong + [f"call {v.scene.number}: {what}" for v in verdicts for what in v.wrong]


@click.command()
@click.option("--keep", type=click.Path(path_type=Path), help="Keep everything in this new folder.")
def main(keep: Path | None) -> None:
    """Four calls on a real server: recorded, refused, withdrawn, not asked for."""
    console = Console(width=None if Console().is_terminal else 140)
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="assent-demo-")))
        folder.mkdir(parents=True, exist_ok=True)
        try:
            wrong = perform(console, folder)
        except (PeerTimeout, PeerRefused, LogTimeout, ServerFailed, RuntimeError) as error:
            console.print(str(error), style="red", markup=False, highlight=False)
            wrong = ["the demo could not be played to its end"]
    if wrong:
        console.print("\n".join(["[bold red]Not as promised:[/]", *(f"  {what}" for what in wrong)]))
        raise SystemExit(1)
    console.print("[bold green]Everything was as promised.[/]")


if __name__ == "__main__":
    main()
