# SPDX-License-Identifier: GPL-3.0-or-later
"""What a flow says: text to be spoken, a named prompt, or a recorded file with its words."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import ConfigDict, GetJsonSchemaHandler, RootModel, model_validator
from pydantic_core import CoreSchema

from ivr.flow.values import ANY, BesideFile, LocalText, Name, is_language
from ivr.flow.yamlfile import Node, Rules, or_text


class Prompt(Node):
    """What is played: exactly one of text, prompt, or file with its transcript. Plain text is short for text."""

    text: LocalText | None = None
    """Words to speak: text in the flow's language, or a mapping of language to text."""
    prompt: Name | None = None
    """A prompt of prompts/<language>/ by name."""
    file: BesideFile | None = None
    """A recorded sound file, from the folder of this flow file. Needs its transcript."""
    transcript: LocalText | None = None
    """The words of the recorded file, as the log and the timeline show them."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        rules = Rules()
        given = [name for name in ("text", "prompt", "file") if getattr(self, name) is not None]
        if len(given) != 1:
            what = "nothing to play" if not given else f"{' and '.join(given)} at once"
            rules.refuse((), what, "exactly one of text, prompt or file")
        if self.file is not None and self.transcript is None:
            rules.refuse("file", "a recorded file without its words", "a transcript beside it")
        if self.file is None and self.transcript is not None:
            rules.refuse("transcript", "a transcript without a recorded file", "a file beside it, or text")
        rules.done("Prompt")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return or_text(handler(schema), minLength=1)


class RecordedNotice(Node):
    """One recorded notice."""

    file: BesideFile
    """The sound file, from the folder of this flow file."""
    transcript: str
    """The words of the file. They must say what the settings enforce, and are hashed into the log."""


class Notice(RootModel[dict[str, RecordedNotice]]):
    """Recorded notices by language; one with `file` and `transcript` directly is in the flow's language."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        if {"file", "transcript"} & set(value):
            return {ANY: value}
        rules = Rules()
        for language in value:
            if not is_language(str(language)):
                rules.refuse(
                    str(language), f"{language!r} is not a language", "file and transcript, or a language code"
                )
        rules.done("Notice")
        return value

    def get(self, language: str) -> RecordedNotice | None:
        """The notice for a language, or for its main language, or the one given without a language."""
        return self.root.get(language, self.root.get(language.partition("-")[0], self.root.get(ANY)))

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        one = handler(RecordedNotice.__pydantic_core_schema__)
        return {"anyOf": [one, handler(schema)]}
