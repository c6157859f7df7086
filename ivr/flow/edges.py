# SPDX-License-Identifier: GPL-3.0-or-later
"""The ways out of a step: what the loader checks, the proof walks, the simulation follows and the graph draws."""

from collections.abc import Iterator
from dataclasses import dataclass

from ivr.flow.model import Flow, Step
from ivr.flow.verbs import Bridge, Goto, Hangup, Menu


@dataclass(frozen=True, slots=True)
class Edge:
    """A way from a step to a section."""

    label: str
    section: str
    path: tuple[str, ...]
    """Where the section is named, below the step's settings."""
    by_key: bool = False
    """Whether a caller has to press a key to go this way."""


@dataclass(frozen=True, slots=True, order=True)
class At:
    """A step of a flow: its section and its position there, from 0."""

    section: str
    index: int


def edges(step: Step) -> list[Edge]:
    """The sections that a step names, in the order of the file."""
    match step:
        case Goto():
            return [Edge("goto", step.section, ("section",))]
        case Menu():
            by_key = [Edge(f"key {key}", name, ("keys", key), by_key=True) for key, name in step.keys.items()]
            return [*by_key, Edge("no valid key", step.otherwise, ("otherwise",))]
        case Bridge():
            named = (("busy", step.busy), ("no_answer", step.no_answer), ("fallback", step.fallback))
            return [Edge(label.replace("_", " "), name, (label,)) for label, name in named if name is not None]
        case _:
            return []


def ends_section(step: Step) -> bool:
    """Whether nothing can follow this step in its section."""
    return isinstance(step, (Hangup, Goto, Menu))


def ways(flow: Flow, at: At) -> Iterator[tuple[Edge | None, At]]:
    """Where a call can go on after the step at `at`; None stands for the next step of the same section."""
    step = flow.sections[at.section][at.index]
    for edge in edges(step):
        yield edge, At(edge.section, 0)
    if not ends_section(step) and at.index + 1 < len(flow.sections[at.section]):
        yield None, At(at.section, at.index + 1)
