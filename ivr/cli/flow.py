# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr flow`: check, draw and simulate call flows; write the JSON Schemas of the configuration files."""

import json
from pathlib import Path

import click
from pydantic import BaseModel

from ivr.cli.exits import Exit
from ivr.flow.graph import mermaid
from ivr.flow.library import Library
from ivr.flow.load import FlowSet, load_flows
from ivr.flow.model import FlowFile
from ivr.flow.place import FileError
from ivr.flow.prompts import Prompts, prompt_mistakes
from ivr.flow.schema import schema_text
from ivr.flow.simulate import AgentAnswer, ScriptError, simulate
from ivr.node.settings import Settings

SCHEMAS: dict[str, tuple[type[BaseModel], str]] = {
    "flow.schema.json": (FlowFile, "A flow file of Assent"),
    "server.schema.json": (Settings, "server.yaml of Assent"),
}

_files = click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="FILE…")
_own = click.option(
    "--prompts",
    "own",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of your own templates and prompts, over the shipped ones.",
)


@click.group()
def command() -> None:
    """Check, show and simulate call flows."""


@command.command()
@_files
@_own
@click.option("--json", "as_json", is_flag=True, help="The mistakes as JSON on stdout.")
def check(files: tuple[Path, ...], own: Path | None, as_json: bool) -> None:
    """Report every mistake in flow files or folders of them; exit 1 when there is one."""
    try:
        flows, _ = _load(files, own)
    except FileError as error:
        if as_json:
            mistakes = [mistake.as_json() for mistake in error.mistakes]
            click.echo(json.dumps({"ok": False, "mistakes": mistakes}, ensure_ascii=False, indent=2))
        else:
            click.echo(str(error))
            count = len(error.mistakes)
            click.echo(f"{count} mistake{'' if count == 1 else 's'}", err=True)
        raise click.exceptions.Exit(Exit.CHECK_FAILED) from error
    if as_json:
        found = [{"name": flow.name, "numbers": list(flow.numbers)} for flow in flows.flows]
        click.echo(json.dumps({"ok": True, "mistakes": [], "flows": found}, ensure_ascii=False, indent=2))
        return
    for flow in flows.flows:
        click.echo(f"{flow.place(key=True).file}: {flow.name}: ok ({', '.join(flow.numbers)})")


@command.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path("config/schema"))
def schema(folder: Path) -> None:
    """Write the JSON Schemas of flow files and server.yaml to FOLDER, for editors."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (model, title) in SCHEMAS.items():
        (folder / name).write_text(schema_text(model, title))
        click.echo(str(folder / name))


@command.command()
@_files
@_own
@click.option("--name", help="Only the flow of this name.")
def graph(files: tuple[Path, ...], own: Path | None, name: str | None) -> None:
    """Print flows as Mermaid flowcharts."""
    flows, _ = _load_or_stop(files, own)
    for flow in flows.flows:
        if name in (None, flow.name):
            click.echo(mermaid(flow), nl=False)


@command.command(name="simulate")
@_files
@_own
@click.option("--number", required=True, help="The number that is dialled.")
@click.option("--keys", default="", help='What is pressed at each wait, such as "- 2 9": see above.')
@click.option(
    "--agent",
    "agents",
    multiple=True,
    type=click.Choice([answer.value for answer in AgentAnswer]),
    help="What each agent that is rung does, in order; the rest answer.",
)
@click.option("--json", "as_json", is_flag=True, help="The timeline as JSON on stdout.")
def simulate_(
    files: tuple[Path, ...], own: Path | None, number: str, keys: str, agents: tuple[str, ...], as_json: bool
) -> None:
    """Walk a flow without a telephone: print what caller and agent would hear, and whether it would be recorded.

    KEYS has one word for each wait, in order: the notice, the time after it where one is left to decide, each time a
    menu asks, and the joined call. A word is a key, - for silence, or @ and a key that the agent presses in the joined
    call. When the words run out, there is silence.
    """
    flows, prompts = _load_or_stop(files, own)
    flow = flows.flow_for(number)
    if flow is None:
        raise click.UsageError(f"no flow has the number {number!r}: a call would get 404")
    try:
        lines = simulate(flow, prompts, number, keys.split(), [AgentAnswer(agent) for agent in agents])
    except ScriptError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        click.echo(json.dumps([line.as_json() for line in lines], ensure_ascii=False, indent=2))
        return
    for line in lines:
        click.echo(str(line))


def _load(files: tuple[Path, ...], own: Path | None) -> tuple[FlowSet, Prompts]:
    library = Library.load(*([own] if own else []))
    return load_flows(files, checks=[lambda flow: prompt_mistakes(flow, library)]), Prompts(library)


def _load_or_stop(files: tuple[Path, ...], own: Path | None) -> tuple[FlowSet, Prompts]:
    try:
        return _load(files, own)
    except FileError as error:
        click.echo(str(error), err=True)
        raise click.exceptions.Exit(Exit.COULD_NOT_RUN) from error
