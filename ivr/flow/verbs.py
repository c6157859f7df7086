# SPDX-License-Identifier: GPL-3.0-or-later
"""The verbs beside `consent`: play, menu, bridge, reference, hangup, goto. docs/reference is generated from them."""

from enum import StrEnum
from typing import Annotated, Any, Self

from annotated_types import Ge, Le, MinLen
from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from ivr.flow.duration import Duration
from ivr.flow.spoken import Prompt
from ivr.flow.tones import RingBack
from ivr.flow.values import NAME_PATTERN, Key, Name, SipUri
from ivr.flow.yamlfile import Node, Rules, or_text


def _also_boolean(schema: dict[str, Any]) -> None:
    kept = {name: schema.pop(name) for name in ("$ref", "allOf", "enum", "type") if name in schema}
    schema["anyOf"] = [{"type": "boolean"}, kept]


class Record(StrEnum):
    """Whether a bridged call may be recorded."""

    CONSENT = "consent"
    """Recorded exactly when the consent step on the way here decided so."""
    NEVER = "never"
    """Not recorded, whatever was decided."""


class Play(Prompt):
    """Plays a prompt to the caller, then goes on with the next step."""


class Menu(Node):
    """Plays a prompt and goes to the section of the key that is pressed, during the prompt or after it."""

    prompt: Prompt
    """What the caller hears first, and again on every retry."""
    keys: Annotated[dict[Key, Name], MinLen(1)]
    """The section for each key; keys in quotes."""
    otherwise: Name
    """The way out: the section after the last retry."""
    timeout: Duration = Duration(5_000)
    """How long a key is waited for after the prompt's end."""
    retries: Annotated[int, Ge(0), Le(9)] = 2
    """How often the prompt is played again after silence or a wrong key; 0 to 9."""
    invalid: Prompt | None = None
    """What is played after a key that the menu does not have. Default: nothing, the prompt is played again."""

    @model_validator(mode="after")
    def _rules(self) -> Self:
        rules = Rules()
        if not 1_000 <= self.timeout.ms <= 60_000:
            rules.refuse("timeout", f"a time-out of {self.timeout}", "between 1s and 60s")
        rules.done("Menu")
        return self


class Bridge(Node):
    """Calls the targets in order until one answers, tells that agent about recording, and joins both parties.

    Goes on with the next step when the agent hangs up first; the call ends when the caller does.
    """

    targets: Annotated[tuple[SipUri, ...], MinLen(1)]
    """SIP addresses of agents, tried in this order."""
    fallback: Name
    """The section when no target answered: the way out for every reason that has no section of its own."""
    ring_time: Duration = Duration(20_000)
    """How long each target is rung."""
    ring_back: RingBack = Field(default=RingBack.EUROPE, json_schema_extra=_also_boolean)
    """The ring-back tone that the caller hears meanwhile: true (europe), false (none), or a country's tone."""
    record: Record = Record.CONSENT
    """consent: recorded when the consent step before decided so; never: not recorded."""
    tell_agent: bool = True
    """Tell the agent, before joining, whether the call is recorded. Cannot be false where the call may be recorded."""
    busy: Name | None = None
    """The section when every target was busy. Default: the fallback."""
    no_answer: Name | None = None
    """The section when the targets rang and none answered in ring_time. Default: the fallback."""
    max_time: Duration | None = None
    """The longest time the parties stay joined; then the call goes on as if the agent had hung up. Default: none."""

    @model_validator(mode="before")
    @classmethod
    def _ring_back(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("ring_back"), bool):
            chosen = RingBack.EUROPE if value["ring_back"] else RingBack.NONE
            return {**value, "ring_back": chosen}
        return value

    @model_validator(mode="after")
    def _rules(self) -> Self:
        rules = Rules()
        if self.record is Record.CONSENT and not self.tell_agent:
            what = "tell_agent is false on a bridge that may be recorded: an agent must be told before being recorded"
            rules.refuse("tell_agent", what, "tell_agent: true, or record: never")
        if not 3_000 <= self.ring_time.ms <= 180_000:
            rules.refuse("ring_time", f"a ring time of {self.ring_time}", "between 3s and 180s")
        if self.max_time is not None and self.max_time.ms < 1_000:
            rules.refuse("max_time", f"a longest time of {self.max_time}", "at least 1s")
        for index, target in enumerate(self.targets):
            if target in self.targets[:index]:
                rules.refuse(("targets", index), f"{target!r} is listed twice", "each target once")
        rules.done("Bridge")
        return self

    def section_for(self, reason: str) -> str:
        """The section after a bridge that failed for `reason`: `busy`, `no_answer` or anything else."""
        own = {"busy": self.busy, "no_answer": self.no_answer}.get(reason)
        return own if own is not None else self.fallback


class Reference(Node):
    """Makes a reference code for the caller and speaks it, digit by digit; then goes on with the next step.

    With the code the caller can have this call found again later: to withdraw, to get their data, or to have it erased.
    Only its keyed hash is kept. Put it behind a key of a menu, so that it is spoken to those who ask for it.
    """

    times: Annotated[int, Ge(1), Le(5)] = 2
    """How often the code is spoken; 1 to 5."""
    pause: Duration = Duration(400)
    """The silence after each group of four digits."""

    @model_validator(mode="after")
    def _rules(self) -> Self:
        rules = Rules()
        if self.pause.ms > 3_000:
            rules.refuse("pause", f"a pause of {self.pause}", "at most 3s")
        rules.done("Reference")
        return self


class Hangup(Node):
    """Ends the call."""

    prompt: Prompt | None = None
    """What is played before hanging up. Default: nothing."""


class Goto(Node):
    """Goes on with another section. Short form: `goto: name`."""

    section: Name
    """The section to go on with."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"section": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return or_text(handler(schema), pattern=NAME_PATTERN)
