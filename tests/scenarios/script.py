# SPDX-License-Identifier: GPL-3.0-or-later
"""A scenario as it is written: given, happens, and what must come of it. Plain text that an auditor can read."""

import re
from dataclasses import dataclass, field
from pathlib import Path

SECTIONS = ("given", "happens", "log", "caller hears", "agent-1 hears", "agent-2 hears", "recordings", "other callers")
_LINE = re.compile(r"(?:(?P<delay>[\d.]+)s after |at |on )?(?P<event>[a-z0-9_.]+)(?:#(?P<nth>\d+))?: (?P<act>.+)")


class ScriptError(ValueError):
    """A scenario file that cannot be read; the message names file and line."""


@dataclass(frozen=True)
class Happening:
    """`act` happens `delay` seconds after the n-th time that `event` was written (or `dialled desk`, `call`)."""

    event: str
    nth: int
    delay: float
    act: str


@dataclass
class Scenario:
    """One file."""

    path: Path
    title: str
    given: list[str] = field(default_factory=list)
    happens: list[Happening] = field(default_factory=list)
    expected: dict[str, list[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.path.stem


def parse(path: Path) -> Scenario:
    """Raises ScriptError."""
    lines = path.read_text().splitlines()
    split = next((n for n, line in enumerate(lines) if line in SECTIONS), len(lines))
    scenario = Scenario(path, " ".join(lines[:split]).strip())
    section = ""
    for number, line in enumerate(lines[split:], split + 1):
        if line in SECTIONS:
            section = line
            scenario.expected.setdefault(section, [])
        elif line.startswith("  ") and section:
            text = line.strip()
            if section == "given":
                scenario.given.append(text)
            elif section == "happens":
                scenario.happens.append(_happening(text, f"{path.name}:{number}"))
            else:
                scenario.expected[section].append(text)
        elif line.strip():
            raise ScriptError(f"{path.name}:{number}: {line!r} is neither a section nor indented")
    return scenario


def _happening(text: str, where: str) -> Happening:
    found = _LINE.fullmatch(text)
    if found is None:
        raise ScriptError(f"{where}: {text!r}: expected `1.5s after event: act` or `on event: act`")
    return Happening(found["event"], int(found["nth"] or 1), float(found["delay"] or 0), found["act"])


def written(scenario: Scenario, came: dict[str, list[str]]) -> str:
    """The file's text with what came of it, for a person to read before it becomes what is expected."""
    text = scenario.path.read_text()
    cut = min((text.find(f"\n{name}\n") for name in SECTIONS[2:] if f"\n{name}\n" in text), default=len(text))
    parts = [text[:cut].rstrip()]
    parts += [f"{name}\n" + "\n".join(f"  {line}" for line in came[name]) for name in SECTIONS[2:] if came.get(name)]
    return "\n\n".join(parts) + "\n"
