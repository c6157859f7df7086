# SPDX-License-Identifier: GPL-3.0-or-later
"""Notice templates: `prompts/<language>/notice.yaml`, refused at loading when a text leaves a required fact out."""

import re
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Self

from annotated_types import MinLen
from pydantic import BeforeValidator, model_validator

from ivr.consent.policy import KEYS, Mode, OnWithdraw
from ivr.flow.place import FileError, Mistake, one_of
from ivr.flow.values import Language
from ivr.flow.yamlfile import Node, Rules, load_model

_FACTS = frozenset({"controller", "purposes", "retention", "place", "access"})
MODE_PLACEHOLDERS: dict[Mode, frozenset[str]] = {
    Mode.OPT_OUT: _FACTS | {"refusal", "withdrawn"},
    Mode.OPT_IN: _FACTS | {"answer", "withdraw_key", "withdrawn"},
    Mode.REQUIRED: _FACTS | {"way_out"},
    Mode.NEVER: frozenset(),
}
"""What the text of each mode must say, all of it, and nothing else."""
_CLAUSE_PLACEHOLDERS: dict[tuple[str, str], frozenset[str]] = {
    ("refusal", "same_key"): frozenset({"refuse_key"}),
    ("refusal", "other_key"): frozenset({"refuse_key", "withdraw_key"}),
    ("answer", "accept"): frozenset({"accept_key"}),
    ("answer", "accept_or_refuse"): frozenset({"accept_key", "refuse_key"}),
    ("way_out", "hang_up"): frozenset(),
    ("way_out", "key"): frozenset({"refuse_key", "withdrawn"}),
}
DURATION_UNITS = ("day", "week", "month", "year")


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Wordings = Annotated[tuple[Annotated[str, MinLen(1)], ...], BeforeValidator(_listed), MinLen(1)]
"""Ways to say one thing: the first is spoken, all of them count in the transcript of a recorded notice."""


class Texts(Node):
    """The whole notice of each mode."""

    opt_out: str
    """Says that the call is recorded unless the key is pressed."""
    opt_in: str
    """Asks for agreement."""
    required: str
    """Says that the call must be recorded and what the caller may do."""
    never: str
    """Says that the call is not recorded."""


class Refusal(Node):
    """How to refuse in opt_out."""

    same_key: str
    """One key, now and during the call."""
    other_key: str
    """One key now, another during the call."""


class Answer(Node):
    """How to answer in opt_in."""

    accept: str
    """One key; anything else is a no."""
    accept_or_refuse: str
    """A key for yes and one for no."""


class WayOut(Node):
    """What a caller may do in required mode."""

    hang_up: str
    """Nothing but hang up."""
    key: str
    """A key for an unrecorded way."""


class Withdrawn(Node):
    """What becomes of what was recorded before a withdrawal."""

    keep: Wordings
    """It is kept."""
    erase: Wordings
    """It is erased."""


class Plural(Node):
    """A length of time, as it stands in the texts."""

    one: Wordings
    """One of it."""
    many: Wordings
    """More than one; {n} is the number."""


class ListWords(Node):
    """How a list is joined: `a, b and c`."""

    comma: str
    """Between all but the last two."""
    last: str
    """Between the last two."""


class Template(Node):
    """One language's notice: texts, clauses and phrases."""

    language: Language
    """The language of the folder it is in."""
    notice: Texts
    """The text for each mode."""
    refusal: Refusal
    """Clauses for {refusal}."""
    answer: Answer
    """Clauses for {answer}."""
    way_out: WayOut
    """Clauses for {way_out}."""
    withdrawn: Withdrawn
    """Clauses for {withdrawn}."""
    any_time: Wordings
    """Words of which a recorded notice must say one where a key works during the call."""
    recording: Wordings
    """Words of which a recorded notice must say one."""
    purposes: Annotated[dict[str, Wordings], MinLen(1)]
    """Purposes by the name that flows use."""
    access: Annotated[dict[str, Wordings], MinLen(1)]
    """Listeners by the name that flows use."""
    keys: dict[str, Wordings]
    """Every telephone key, in quotes."""
    durations: dict[str, Plural]
    """day, week, month, year."""
    list: ListWords
    """How lists are joined."""

    @model_validator(mode="after")
    def _rules(self) -> Self:
        rules = Rules()
        for mode, needed in MODE_PLACEHOLDERS.items():
            _check_placeholders(rules, ("notice", mode.value), getattr(self.notice, mode.value), needed)
        for (group, name), needed in _CLAUSE_PLACEHOLDERS.items():
            _check_placeholders(rules, (group, name), getattr(getattr(self, group), name), needed)
        for choice in OnWithdraw:
            _check_placeholders(rules, ("withdrawn", choice.value), self.clause(choice), frozenset())
        _check_names(rules, "keys", self.keys, tuple(sorted(KEYS)))
        _check_names(rules, "durations", self.durations, DURATION_UNITS)
        for unit, plural in self.durations.items():
            for wording in plural.many:
                _check_placeholders(rules, ("durations", unit, "many"), wording, frozenset({"n"}))
        rules.done("Template")
        return self

    def text(self, mode: Mode) -> str:
        whole: str = getattr(self.notice, mode.value)
        return whole

    def clause(self, choice: OnWithdraw) -> str:
        """The sentence that says what becomes of what was recorded."""
        return self.wordings(choice)[0]

    def wordings(self, choice: OnWithdraw) -> tuple[str, ...]:
        return self.withdrawn.keep if choice is OnWithdraw.KEEP else self.withdrawn.erase

    def duration(self, count: int, unit: str) -> tuple[str, ...]:
        """`90 days` and its other wordings; `unit` as in DURATION_UNITS."""
        plural = self.durations[unit]
        return plural.one if count == 1 else tuple(wording.replace("{n}", str(count)) for wording in plural.many)

    def joined(self, items: tuple[str, ...]) -> str:
        if len(items) < 2:
            return "".join(items)
        return self.list.comma.join(items[:-1]) + self.list.last + items[-1]


def load_template(file: Path) -> Template:
    """One `notice.yaml`. Raises FileError with every mistake, each with its line."""
    template, source = load_model(file, Template)
    if template.language != file.parent.name:
        what = f"`language` is {template.language}, but the folder is {file.parent.name}"
        raise FileError([Mistake(source.place(("language",)), what, file.parent.name)])
    return template


def fill(text: str, values: dict[str, str]) -> str:
    """`text` with its placeholders replaced, once: braces in a value stay as they are. KeyError for a missing value."""
    return re.sub(r"\{(\w+)\}", lambda found: values[found[1]], text)


def _check_placeholders(rules: Rules, at: tuple[str, ...], text: str, needed: frozenset[str]) -> None:
    try:
        found = {name for _, name, _, _ in Formatter().parse(text) if name is not None}
    except ValueError as error:
        rules.refuse(at, f"braces that do not match ({error})", "{name} for each placeholder, no other braces")
        return
    expected = one_of(f"{{{name}}}" for name in sorted(needed))
    for name in sorted(needed - found):
        rules.refuse(at, f"{{{name}}} is left out: what is enforced must be said", f"{{{name}}} somewhere in the text")
    for name in sorted(found - needed):
        rules.refuse(at, f"{{{name}}} is no placeholder of this text", expected)


def _check_names(rules: Rules, at: str, given: dict[str, Any], needed: tuple[str, ...]) -> None:
    for name in sorted(set(needed) - set(given)):
        rules.refuse(at, f"`{name}` is missing in `{at}`", one_of(needed))
    for name in sorted(set(given) - set(needed)):
        rules.refuse((at, name), f"`{name}` does not belong in `{at}`", one_of(needed))
