# SPDX-License-Identifier: GPL-3.0-or-later
"""Small values of the flow language: text by language, names with phrases, keys, numbers, addresses."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo, WithJsonSchema
from pydantic_core import core_schema

from ivr.consent.policy import KEYS
from ivr.flow.duration import plain_schema
from ivr.flow.yamlfile import rule_error

ANY = "*"
"""The language of text that was given without one: it stands for the flow's own language."""

_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z]{2})?")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_NUMBER = re.compile(r"\+?[0-9A-Za-z_.!~'()&=$,;?/-]+\*?")
_SIP_URI = re.compile(
    r"sips?:(?:[A-Za-z0-9_.!~*'()&=+$,;?/%-]+@)?(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:;[^\s<>\"]*)?"
)


@dataclass(frozen=True, slots=True)
class LocalText:
    """Text by language; under ANY when the flow gave it without naming a language."""

    by_language: tuple[tuple[str, str], ...]

    def get(self, language: str) -> str | None:
        """The text for `language`: its own, else that of its main language (`de` for `de-AT`), else ANY's."""
        texts = dict(self.by_language)
        return texts.get(language, texts.get(language.partition("-")[0], texts.get(ANY)))

    def as_json(self) -> dict[str, str]:
        return dict(self.by_language)

    @classmethod
    def parse(cls, value: object) -> Self:
        """From text, or a mapping of language to text. Raises a pydantic error."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, str):
            return cls(((ANY, _said(value)),))
        if not isinstance(value, Mapping) or not value:
            raise rule_error("no text is here", 'text, or a mapping of language to text (en: "…")')
        for language, text in value.items():
            if not is_language(str(language)):
                raise rule_error(f"{language!r} is not a language", "a language code such as en, de or pt-BR")
            if not isinstance(text, str):
                raise rule_error(f"the text in {language!r} is not text", "text in quotes")
        return cls(tuple(sorted((str(k), _said(str(v))) for k, v in value.items())))

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return plain_schema(cls.parse, cls)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _schema: core_schema.CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "minLength": 1}, _BY_LANGUAGE]}


_BY_LANGUAGE: dict[str, Any] = {
    "type": "object",
    "propertyNames": {"pattern": f"^{_LANGUAGE.pattern}$"},
    "additionalProperties": {"type": "string", "minLength": 1},
    "minProperties": 1,
}


def _said(text: str) -> str:
    if not text.strip():
        raise rule_error("the text is empty", "words to say")
    return " ".join(text.split())


@dataclass(frozen=True, slots=True)
class Term:
    """A purpose or a group of listeners: a name whose phrase the templates know, or phrases by language."""

    name: str | None
    phrases: LocalText | None = None

    def as_json(self) -> str | dict[str, str]:
        if self.phrases is not None:
            return self.phrases.as_json()
        return self.name or ""

    @classmethod
    def parse(cls, value: object) -> Self:
        """From a name, or a mapping of language to phrase. Raises a pydantic error."""
        if isinstance(value, str):
            if not re.fullmatch(r"[a-z][a-z0-9_]*", value):
                raise rule_error(
                    f"{value!r} is not a name",
                    "a name that the templates know, such as quality, or a mapping of language to phrase",
                )
            return cls(value)
        return cls(None, LocalText.parse(value))

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return plain_schema(cls.parse, cls)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _schema: core_schema.CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "pattern": "^[a-z][a-z0-9_]*$"}, _BY_LANGUAGE]}


def _key(text: str) -> str:
    if text not in KEYS:
        raise rule_error(f"{text!r} is not a telephone key", 'one key in quotes: "0" to "9", "*", "#", "A" to "D"')
    return text


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise rule_error(f"{text!r} is not a name", "letters, digits, - and _, beginning with a letter")
    return text


def is_language(text: str) -> bool:
    """Whether `text` has the shape of a language code."""
    return _LANGUAGE.fullmatch(text) is not None


def _language(text: str) -> str:
    if not is_language(text):
        raise rule_error(f"{text!r} is not a language", "a language code such as en, de or pt-BR")
    return text


def _number(text: str) -> str:
    if text == ANY:
        raise rule_error("a * alone matches nothing", "`default` for every other number")
    if not _NUMBER.fullmatch(text):
        raise rule_error(f"{text!r} is not a number", 'the dialled user part, a prefix such as "49301*", or default')
    return text


def _sip_uri(text: str) -> str:
    if not _SIP_URI.fullmatch(text):
        raise rule_error(f"{text!r} is not a SIP address", "sip:user@host or sip:user@host:port")
    return text


def _beside_file(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder")
    return Path(folder) / path if folder is not None else path


NAME_PATTERN = f"^{_NAME.pattern}$"
Key = Annotated[str, AfterValidator(_key), WithJsonSchema({"type": "string", "pattern": "^[0-9*#A-D]$"})]
Name = Annotated[str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": NAME_PATTERN})]
Language = Annotated[
    str, AfterValidator(_language), WithJsonSchema({"type": "string", "pattern": f"^{_LANGUAGE.pattern}$"})
]
Number = Annotated[str, AfterValidator(_number), WithJsonSchema({"type": "string", "pattern": f"^{_NUMBER.pattern}$"})]
SipUri = Annotated[str, AfterValidator(_sip_uri), WithJsonSchema({"type": "string", "pattern": "^sips?:"})]
BesideFile = Annotated[Path, AfterValidator(_beside_file)]
"""A path that is read from the folder of the YAML file that names it."""
