# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of the letter that goes with somebody's data, by language: `prompts/<language>/rights.yaml`."""

from collections.abc import Mapping
from string import Formatter
from typing import Any, Self

from pydantic import model_validator

from ivr.consent.policy import LawfulBasis
from ivr.flow.values import Language
from ivr.flow.yamlfile import Node, Rules, load_model
from ivr.packaged import packaged
from ivr.rights.errors import RightsError

LANGUAGES = ("en", "de", "fr", "es")
_DECISIONS = {"granted", "refused", "not_objected", "not_given", "informed", "not_asked", "withdrawn"}
_PLACEHOLDERS: Mapping[str, frozenset[str]] = {
    "intro": frozenset({"made", "request", "received"}),
    "call": frozenset({"day", "time", "dialled"}),
    "mentioned": frozenset({"day", "time"}),
    "controller": frozenset({"controller"}),
    "basis": frozenset({"basis", "purposes", "access", "place"}),
    "decision": frozenset({"decision"}),
    "recording": frozenset({"seconds", "file", "until", "days"}),
    "recording_erased": frozenset({"seconds"}),
    "kept_personal": frozenset({"personal"}),
    "kept_evidence": frozenset({"evidence"}),
    "listened_line": frozenset({"day", "time", "who", "why"}),
    "check_text": frozenset({"vkey"}),
}


class Texts(Node):
    """One language's letter."""

    language: Language
    """The language of the folder it is in."""
    title: str
    """Headline."""
    intro: str
    """What this is."""
    calls: str
    """Heading of the calls."""
    no_calls: str
    """Where there are none."""
    call: str
    """One call that the person made."""
    mentioned: str
    """One call that names the person otherwise."""
    hidden_number: str
    """In place of an erased number."""
    controller: str
    """Who is responsible."""
    basis: str
    """Why, what for, who, where."""
    decision: str
    """What was decided."""
    not_recorded: str
    """No recording."""
    recording: str
    """A recording that is in the package."""
    recording_erased: str
    """One that is gone."""
    recording_held: str
    """One on hold."""
    decisions: dict[str, str]
    """Every decision."""
    lawful_basis: dict[str, str]
    """Every lawful basis."""
    kept: str
    """Heading of what is kept."""
    kept_personal: str
    """The personal clock."""
    kept_evidence: str
    """The evidence clock."""
    kept_log: str
    """The log."""
    listened: str
    """Heading of who listened."""
    listened_line: str
    """Once."""
    listened_nobody: str
    """Never."""
    withheld: str
    """What is left out."""
    rights: str
    """Heading of the rights."""
    rights_text: str
    """The rights."""
    check: str
    """Heading of how to check."""
    check_text: str
    """How to check."""

    @model_validator(mode="after")
    def _rules(self) -> Self:
        rules = Rules()
        for name in type(self).model_fields:
            text = getattr(self, name)
            if isinstance(text, str):
                found = {field for _, field, _, _ in Formatter().parse(text) if field is not None}
                needed = _PLACEHOLDERS.get(name, frozenset())
                if found != needed:
                    rules.refuse(name, f"its placeholders are {sorted(found)}", f"exactly {sorted(needed)}")
        for name, known in (("decisions", _DECISIONS), ("lawful_basis", {basis.value for basis in LawfulBasis})):
            if set(getattr(self, name)) != known:
                rules.refuse(name, "a name is missing, or one too many", f"exactly {sorted(known)}")
        rules.done("Texts")
        return self

    def say(self, name: str, **values: Any) -> str:
        """A text with its placeholders filled."""
        text: str = getattr(self, name)
        return text.format(**values)


def load_texts(language: str) -> Texts:
    """The letter's words. Raises RightsError for a language that there is none in, FileError for a broken file."""
    code = language.partition("-")[0]
    if code not in LANGUAGES:
        raise RightsError(f"the letter is not there in {language!r}, only in {', '.join(LANGUAGES)}")
    return load_model(packaged("prompts") / code / "rights.yaml", Texts)[0]
