# SPDX-License-Identifier: GPL-3.0-or-later
"""The prompt folders by language: the shipped ones, and over them an operator's own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from annotated_types import MinLen

from ivr.flow.place import FileError, Mistake, Place, one_of
from ivr.flow.templates import Template, load_template
from ivr.flow.values import Language, Name
from ivr.flow.yamlfile import Node, load_model
from ivr.packaged import packaged

REQUIRED_MESSAGES = (
    "not_recorded",
    "recording_stopped",
    "recording_stopped_erased",
    "recorded_thanks",
    "agent_recorded",
    "agent_not_recorded",
    "agent_recording_stopped",
    "invalid_choice",
    "no_choice",
    "please_wait",
    "agent_unavailable",
    "number_unavailable",
    "technical_problem",
    "goodbye",
)
"""Messages that the server itself says; every language has them, and may have more."""


REFERENCE_MESSAGES = ("reference_intro", "reference_again", *(f"digit_{digit}" for digit in range(10)))
"""What the reference step says; needed in the languages of flows that have one."""


class UnknownPrompt(LookupError):
    """A language or message that no prompt folder has."""


class Messages(Node):
    """One language's `messages.yaml`."""

    language: Language
    """The language of the folder it is in."""
    messages: dict[Name, Annotated[str, MinLen(1)]]
    """The words of each message by its name."""


@dataclass(frozen=True, slots=True)
class Library:
    """Templates and messages by language. `de-AT` is served by `de` unless it has a folder of its own."""

    templates: Mapping[str, Template]
    messages: Mapping[str, Mapping[str, str]]

    @classmethod
    def load(cls, *own: Path) -> Self:
        """The shipped folder and over it each of `own`, in order: a file there replaces a template, adds messages.

        Raises FileError with the mistakes of every file.
        """
        templates: dict[str, Template] = {}
        messages: dict[str, dict[str, str]] = {}
        mistakes: list[Mistake] = []
        for folder in (packaged("prompts"), *own):
            for file in sorted(folder.glob("*/*.yaml")):
                try:
                    if file.name == "notice.yaml":
                        templates[file.parent.name] = load_template(file)
                    elif file.name == "messages.yaml":
                        messages.setdefault(file.parent.name, {}).update(load_messages(file))
                except FileError as error:
                    mistakes.extend(error.mistakes)
            mistakes.extend(_incomplete(folder, templates, messages) if not mistakes else [])
        if mistakes:
            raise FileError(mistakes)
        return cls(templates, messages)

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(sorted(self.templates))

    def template(self, language: str) -> Template:
        """The notice template of a language. Raises UnknownPrompt."""
        return self.templates[self._near(language)]

    def message(self, name: str, language: str) -> str:
        """The words of a message. Raises UnknownPrompt naming the nearest."""
        known = self.messages[self._near(language)]
        if name not in known:
            raise UnknownPrompt(f"no prompt {name!r} in {language}: one of {one_of(sorted(known))}")
        return known[name]

    def _near(self, language: str) -> str:
        for code in (language, language.partition("-")[0]):
            if code in self.templates:
                return code
        raise UnknownPrompt(f"no prompts in language {language!r}: one of {one_of(self.languages)}")


def load_messages(file: Path) -> Mapping[str, str]:
    """One `messages.yaml`. Raises FileError."""
    loaded, source = load_model(file, Messages)
    if loaded.language != file.parent.name:
        what = f"`language` is {loaded.language}, but the folder is {file.parent.name}"
        raise FileError([Mistake(source.place(("language",)), what, file.parent.name)])
    return {name: " ".join(text.split()) for name, text in loaded.messages.items()}


def _incomplete(
    folder: Path, templates: Mapping[str, Template], messages: Mapping[str, Mapping[str, str]]
) -> list[Mistake]:
    found = []
    for language in sorted({*templates, *messages}):
        if language not in templates:
            place = Place(folder / language / "notice.yaml", 1, 1)
            found.append(
                Mistake(place, f"language {language} has no notice template", "a notice.yaml beside its messages")
            )
        missing = [name for name in REQUIRED_MESSAGES if name not in messages.get(language, {})]
        if missing:
            place = Place(folder / language / "messages.yaml", 1, 1)
            found.append(
                Mistake(place, f"language {language} lacks {', '.join(missing)}", "every message of the server")
            )
    return found
