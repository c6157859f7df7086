# SPDX-License-Identifier: GPL-3.0-or-later
"""A flow file as it is written (`FlowFile`), and a flow as it is run (`Flow`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self, TypeAlias

from annotated_types import MinLen
from pydantic import GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from ivr.flow.consent_step import Consent
from ivr.flow.place import Place, nearest, one_of
from ivr.flow.values import Language, Name, Number
from ivr.flow.verbs import Bridge, Goto, Hangup, Menu, Play, Reference
from ivr.flow.yamlfile import Node, rule_error
from ivr.flow.yamlnode import Source

Step: TypeAlias = Consent | Play | Menu | Bridge | Reference | Hangup | Goto

DEFAULT = "default"
"""The number pattern that matches what no other pattern does."""


_BARE = ("hangup", "reference")
"""Verbs that stand alone, without settings."""


class StepSpec(Node):
    """One step: a mapping with one verb."""

    consent: Consent | None = None
    """Says the notice and decides whether this call may be recorded."""
    play: Play | None = None
    """Plays a prompt."""
    menu: Menu | None = None
    """Asks for a key and goes to its section."""
    bridge: Bridge | None = None
    """Joins the caller with an agent."""
    reference: Reference | None = None
    """Tells the caller a reference code for this call."""
    hangup: Hangup | None = None
    """Ends the call."""
    goto: Goto | None = None
    """Goes on with another section."""

    @model_validator(mode="before")
    @classmethod
    def _one_verb(cls, value: Any) -> Any:
        verbs = list(cls.model_fields)
        if isinstance(value, str) and value in _BARE:
            return {value: {}}
        if not isinstance(value, Mapping):
            near = nearest(value, verbs) if isinstance(value, str) else None
            raise rule_error(f"{value!r} is not a step", f"one verb with its settings: {one_of(verbs)}", near)
        if not value or len(set(value) & set(verbs)) > 1:
            what = " and ".join(f"`{v}`" for v in value) + " in one step" if value else "an empty step"
            raise rule_error(what, "one verb a step, each step beginning with its own -")
        return {verb: {} if settings is None and verb in verbs else settings for verb, settings in value.items()}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"enum": list(_BARE)}, {**handler(schema), "minProperties": 1, "maxProperties": 1}]}

    @property
    def verb(self) -> str:
        return next(name for name in type(self).model_fields if getattr(self, name) is not None)

    @property
    def step(self) -> Step:
        step: Step = getattr(self, self.verb)
        return step


class FlowSpec(Node):
    """One flow: the numbers that reach it and the sections of steps that it runs."""

    numbers: Annotated[tuple[Number, ...], MinLen(1)]
    """The dialled user parts that reach this flow: exact, a prefix with a trailing *, or default."""
    language: Language
    """The language of its notice and prompts, such as en."""
    start: Name | None = None
    """The section that a call begins with. Default: the first one."""
    sections: Annotated[dict[Name, Annotated[tuple[StepSpec, ...], MinLen(1)]], MinLen(1)]
    """Sections by name, each a list of steps."""


class FlowFile(Node):
    """A file of flows."""

    flows: Annotated[dict[Name, FlowSpec], MinLen(1)]
    """Flows by name."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One flow as it is run. Sections hold their steps in order; every name in them exists."""

    name: str
    numbers: tuple[str, ...]
    language: str
    start: str
    sections: Mapping[str, tuple[Step, ...]]
    source: Source

    @classmethod
    def of(cls, name: str, spec: FlowSpec, source: Source) -> Self:
        """The flow that a file describes; `source` tells where."""
        return cls(
            name=name,
            numbers=spec.numbers,
            language=spec.language,
            start=spec.start or next(iter(spec.sections)),
            sections={key: tuple(item.step for item in steps) for key, steps in spec.sections.items()},
            source=source,
        )

    def place(self, *path: str | int, key: bool = False) -> Place:
        """Where something of this flow is in its file; `path` as in the file, below the flow's name."""
        return self.source.place(("flows", self.name, *path), key=key)

    def step_path(self, section: str, index: int) -> tuple[str | int, ...]:
        """The path of a step's settings below the flow's name, for `place`."""
        return ("sections", section, index, verb_of(self.sections[section][index]))


def verb_of(step: Step) -> str:
    """The name of a step's verb."""
    return type(step).__name__.lower()
