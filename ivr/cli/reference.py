# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes docs/reference: `python -m ivr.cli.reference [DIR]`.

A module of the command line, because that is the one layer that may import everything the pages describe; not a command
of it, because an installed server has no docs folder to write to. tests/docs compares the committed pages with these.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import MappingProxyType

import click

from ivr.audit.findings import Check
from ivr.audit.replay import Differs
from ivr.cli import COMMANDS, main
from ivr.cli.exits import MEANING
from ivr.cli.reference_models import settings_page, verbs_page
from ivr.cli.reference_text import code, member_docs, paragraph, table
from ivr.consent.record import DECISIONS, INPUTS
from ivr.ledger.catalogue import TYPES, EventType
from ivr.ledger.validate import LEDGER_ONLY

WRITTEN_BY = "<!-- Written by `python -m ivr.cli.reference`; do not edit. -->\n\n"


def events_page() -> str:
    """docs/reference/events.md."""
    parts = [
        "# Events\n",
        "The frame of an event is in [audit](../audit/README.md). Here are the types, what each says, and its fields. "
        "The ledger refuses a type or a field that is not in this list, and an event that lacks a required field. "
        "Fields of `data` are signed and stay. Personal fields are salted disclosures beside the event; erasing one "
        "leaves the signature, the chain and the tree as they were.\n",
        "Role: an *input* is a fact that the consent machine was told, a *decision* is what it answered; replay "
        "feeds it the inputs and compares the decisions. *ledger* marks what only the ledger itself may write.\n",
    ]
    group = ""
    for name, declared in TYPES.items():
        if name.partition(".")[0] != group:
            group = name.partition(".")[0]
            parts.append(f"## {group}\n")
        parts += _event(declared)
    return "\n".join(parts)


def _event(declared: EventType) -> list[str]:
    name = declared.name
    roles = [
        word for word, names in (("input", INPUTS), ("decision", DECISIONS), ("ledger", LEDGER_ONLY)) if name in names
    ]
    said = declared.summary[0].upper() + declared.summary[1:]
    parts = [f"### {name}\n", f"{said}. {'Role: ' + ', '.join(roles) + '.' if roles else ''}".strip() + "\n"]
    rows = [
        [code(field), "data" if field in declared.required else "data, optional", meaning]
        for field, meaning in declared.data.items()
    ]
    rows += [[code(field), "personal", meaning] for field, meaning in declared.personal.items()]
    return [*parts, table(["field", "where", "meaning"], rows)] if rows else parts


def exits_page() -> str:
    """docs/reference/exit-codes.md."""
    rows = [[str(int(number)), code(number.name), meaning] for number, meaning in MEANING.items()]
    return (
        "# Exit codes\n\nEvery `ivr` command ends with one of these. stdout is data, stderr is talk.\n\n"
        + table(["code", "name", "meaning"], rows)
        + "\nWrong usage of a command (an unknown option, a missing argument) is 2 as well.\n"
    )


def findings_page() -> str:
    """docs/reference/findings.md."""
    return "\n".join(
        [
            "# Findings\n",
            "Each finding is one line: what, where, and more. With `--json` each is an object. What to do about them "
            "is in [audit](../audit/README.md#what-a-finding-means).\n",
            "## ivr log verify\n",
            _members(Check, "what does not hold"),
            "## ivr log replay\n",
            "An event that `verify` would find is a finding of `replay` too.\n",
            _members(Differs, "in what way the log and the machine differ"),
        ]
    )


def _members(enum: type[Enum], meaning: str) -> str:
    return table(["finding", meaning], [[code(name), text] for name, text in member_docs(enum).items()])


def cli_page() -> str:
    """docs/reference/cli.md."""
    parts = ["# Commands\n", paragraph(main.help), "`ivr --version` prints the version.\n"]
    rows = [
        [f"[{code('ivr ' + path)}](#{anchor(path)})", command.get_short_help_str(200)] for path, command in commands()
    ]
    parts.append(table(["command", "what it does"], rows))
    for path, command in commands():
        parts += _command(path, command)
    return "\n".join(parts)


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command that is not hidden, groups before what is in them."""
    context = click.Context(main)
    for name in COMMANDS:
        command = main.get_command(context, name)
        if command is not None:
            yield from _under(name, command)


def _under(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    if command.hidden:
        return
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _under(f"{path} {name}", inner)


def anchor(path: str) -> str:
    """The anchor of a command's heading."""
    return "ivr-" + path.replace(" ", "-")


def _command(path: str, command: click.Command) -> list[str]:
    parts = [f"## ivr {path}\n", paragraph(command.help)]
    if isinstance(command, click.Group):
        return parts
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    usage = " ".join(["ivr", path, "[OPTIONS]", *(_metavar(p) for p in shown if isinstance(p, click.Argument))])
    parts.append(f"    {usage}\n")
    rows = [[_spelled(p), _help(p)] for p in shown if isinstance(p, click.Option)]
    return [*parts, table(["option", "meaning"], rows)] if rows else parts


def _metavar(parameter: click.Parameter) -> str:
    name = parameter.metavar or (parameter.name or "").upper()
    return name if parameter.required else f"[{name}]"


def _spelled(option: click.Option) -> str:
    if option.is_flag:
        return ", ".join(map(code, option.opts))
    kind = option.type
    word = "|".join(map(str, kind.choices)) if isinstance(kind, click.Choice) else _word(option)
    return ", ".join(code(f"{name} {word}") for name in option.opts)


def _word(option: click.Option) -> str:
    if option.metavar:
        return option.metavar
    kind = option.type
    if isinstance(kind, click.Path):
        return "DIR" if not kind.file_okay else "FILE"
    return "NUMBER" if isinstance(kind, (click.types.IntParamType, click.types.FloatParamType)) else "TEXT"


def _help(option: click.Option) -> str:
    notes = []
    if option.required:
        notes.append("Required.")
    if option.multiple:
        notes.append("May be given several times.")
    if option.show_default and option.default is not None:
        notes.append(f"Default: {code(str(option.default))}.")
    return " ".join([option.help or "", *notes]).strip()


PAGES: Mapping[str, Callable[[], str]] = MappingProxyType(
    {
        "settings.md": settings_page,
        "flows.md": verbs_page,
        "events.md": events_page,
        "findings.md": findings_page,
        "cli.md": cli_page,
        "exit-codes.md": exits_page,
    }
)


def pages() -> dict[str, str]:
    """Every page by its file name, the same on every run."""
    return {name: WRITTEN_BY + make() for name, make in PAGES.items()}


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path("docs/reference"))
def command(folder: Path) -> None:
    """Write the reference pages to FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, "utf-8")
        click.echo(str(folder / name))


if __name__ == "__main__":
    command()
