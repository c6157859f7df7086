# SPDX-License-Identifier: GPL-3.0-or-later
"""Reference pages of what is written in YAML: settings and verbs, from the models that read them.

The text under a field in its model is its description there, in the JSON Schema, and here: there is no second one.
"""

from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from annotated_types import Ge, Le, MinLen
from pydantic import AfterValidator, BaseModel, RootModel
from pydantic.fields import FieldInfo

from ivr.cli.reference_text import code, paragraph, table
from ivr.consent.policy import LawfulBasis, Mode, OnWithdraw, why_not_allowed
from ivr.flow.consent_step import Consent, Keys, Storage
from ivr.flow.duration import Duration, Period
from ivr.flow.library import REQUIRED_MESSAGES, Library
from ivr.flow.model import FlowFile, FlowSpec, StepSpec
from ivr.flow.spoken import Notice, Prompt, RecordedNotice
from ivr.flow.tones import TONES
from ivr.flow.values import BesideFile, Key, Language, LocalText, Name, Number, SipUri, Term
from ivr.flow.verbs import Record
from ivr.ledger.database import Postgres
from ivr.node.settings import Ipv4, Settings

_WORDS: dict[Any, str] = {
    str: "text",
    bool: "true or false",
    int: "whole number",
    Path: "path",
    Postgres: "PostgreSQL address",
    Duration: "time",
    Period: "period",
    LocalText: "text, or text by language",
    Term: "name, or phrase by language",
    Notice: "`file` and `transcript`, or these by language",
    Prompt: "text, or a prompt",
}


def _validator(alias: Any) -> Any:
    return next(item.func for item in get_args(alias) if isinstance(item, AfterValidator))


_BY_VALIDATOR: dict[Any, str] = {
    _validator(alias): word
    for alias, word in (
        (Key, "key"),
        (Name, "name"),
        (Language, "language"),
        (Number, "number"),
        (SipUri, "SIP address"),
        (BesideFile, "path"),
        (Ipv4, "IPv4 address"),
    )
}


def settings_page() -> str:
    """docs/reference/settings.md."""
    parts = [
        "# Settings: server.yaml\n",
        "Every setting has a default, so every line may be left out. A key that does not exist is refused, with file "
        "and line. Paths are read from the folder of `server.yaml`. Changes take effect at the next start.\n",
        "A time carries its unit: `500ms`, `2s`, `5 min`, `2 hours`.\n",
    ]
    top = {name: f for name, f in Settings.model_fields.items() if not _is_model(f.annotation)}
    top |= {leaf: one for name, field in list(top.items()) for leaf, one in _items(field, name)}
    parts += ["## Top level\n", _fields(top, "")]
    for name, field in Settings.model_fields.items():
        if _is_model(field.annotation):
            parts += [f"## {name}\n", paragraph(field.description), _fields(dict(_nested(field, name)), "")]
    return "\n".join(parts)


def settings_paths() -> list[str]:
    """Every setting as `group.name`."""
    return [path for name, field in Settings.model_fields.items() for path, _ in _leaves(field, name)]


def _leaves(field: FieldInfo, path: str) -> Iterator[tuple[str, FieldInfo]]:
    model = field.annotation
    if not _is_model(model):
        yield path, field
        return
    for name, inner in model.model_fields.items():  # type: ignore[union-attr]
        yield from _leaves(inner, f"{path}.{name}")


def _nested(field: FieldInfo, path: str) -> Iterator[tuple[str, FieldInfo]]:
    model = field.annotation
    if _is_model(model):
        for name, inner in model.model_fields.items():  # type: ignore[union-attr]
            yield name, inner
            yield from (
                (leaf.removeprefix(f"{path}."), one)
                for leaf, one in _leaves(inner, f"{path}.{name}")
                if one is not inner
            )
            yield from _items(inner, name)


def _items(field: FieldInfo, name: str) -> Iterator[tuple[str, FieldInfo]]:
    """Of a list of mappings."""
    for item in filter(_is_model, get_args(field.annotation)):
        yield from ((f"{name}[].{key}", one) for key, one in item.model_fields.items())


def verbs_page() -> str:
    """docs/reference/flows.md."""
    parts = [
        "# Flows: files, verbs and values\n",
        "`ivr flow check FILE…` reports every mistake with file, line, what was expected and the nearest valid name. "
        "`ivr flow simulate` walks a flow without a telephone, `ivr flow graph` draws it. The JSON Schema for editors "
        "is `config/schema/flow.schema.json` (`ivr flow schema` writes it).\n",
        "## A file\n",
        _fields(FlowFile.model_fields, ""),
        "## A flow\n",
        paragraph(FlowSpec.__doc__),
        _fields(FlowSpec.model_fields, ""),
        "## A step\n",
        "A step is a mapping with one verb. `hangup` alone, as plain text, is a step too.\n",
        _fields(StepSpec.model_fields, "", plain=True),
    ]
    for verb, field in StepSpec.model_fields.items():
        model = _model_of(field.annotation)
        parts += [f"## {verb}\n", paragraph(model.__doc__), _fields(model.model_fields, "")]
        if model is Consent:
            parts += _consent_parts()
    return "\n".join([*parts, *_values()])


def _consent_parts() -> list[str]:
    combinations = [
        [code(mode.value), *("yes" if why_not_allowed(mode, basis) is None else "no" for basis in LawfulBasis)]
        for mode in Mode
    ]
    return [
        "### consent: keys\n",
        _fields(Keys.model_fields, "keys."),
        "### consent: storage\n",
        _fields(Storage.model_fields, "storage."),
        "### consent: notice\n",
        paragraph(Notice.__doc__),
        _fields(RecordedNotice.model_fields, "notice."),
        "### consent: which mode can rest on which lawful basis\n",
        table(["mode", *(code(basis.value) for basis in LawfulBasis)], combinations),
    ]


def _values() -> list[str]:
    return [
        "## Values\n",
        table(["value", "how it is written"], [[name, text] for name, text in _SPELLING.items()]),
        "## Ring-back tones\n",
        "ITU-T E.180 Supplement 2. `none` is silence.\n",
        table(
            ["tone", "frequencies", "on and off, ms"],
            [
                [code(t.value), " + ".join(f"{hz} Hz" for hz in tone.hz), ", ".join(map(str, tone.cadence_ms))]
                for t, tone in TONES.items()
            ],
        ),
        *_shipped(),
    ]


def _shipped() -> list[str]:
    library = Library.load()
    languages = sorted(library.templates)
    sections = [
        "## Shipped languages, messages and phrases\n",
        f"Languages: {', '.join(map(code, languages))}. Messages that every language has, for `prompt: {{prompt: "
        f"NAME}}`: {', '.join(map(code, REQUIRED_MESSAGES))}.\n",
    ]
    for what in ("purposes", "access"):
        known = [set(getattr(library.templates[language], what)) for language in languages]
        every = ", ".join(code(name) for name in sorted(set.intersection(*known)))
        sections.append(f"Names for `{what}` that every shipped template can say: {every}.\n")
    return sections


_SPELLING = {
    "time": "A number with its unit: `500ms`, `2s`, `5 min`, `2 hours`.",
    "period": "A whole number of days, weeks, months or years: `90 days`, `1 year`. It is enforced in days; a month "
    "counts 28 and a year 365, so that nothing outlives what was said.",
    "key": 'One telephone key, in quotes: `"0"` to `"9"`, `"*"`, `"#"`, `"A"` to `"D"`.',
    "name": "Letters, digits, `-` and `_`, beginning with a letter; at most 64 characters.",
    "language": "A language code: `en`, `de`, `pt-BR`.",
    "number": 'The dialled user part. Exact (`"100"`), a prefix with `*` at its end (`"49301*"`), or `default` for '
    "what no other number matches. In quotes, so that YAML keeps leading zeros.",
    "SIP address": "`sip:user@host` or `sip:user@host:port`.",
    "text by language": '`{en: "…", de: "…"}`. A language without text of its own takes that of its main language.',
    "prompt": "Text to be spoken; or `{prompt: NAME}`, a shipped message; or `{file: …, transcript: …}`, a recorded "
    "sound file with its words.",
    "path": "Read from the folder of the file in which it is written.",
}


def _fields(fields: Mapping[str, FieldInfo], prefix: str, *, plain: bool = False) -> str:
    if plain:
        rows = [[code(name), paragraph(field.description).strip()] for name, field in fields.items()]
        return table(["verb", "what it does"], rows)
    rows = [
        [code(prefix + name), _type(field.annotation, field.metadata), _default(field), field.description or ""]
        for name, field in fields.items()
    ]
    return table(["key", "value", "default", "meaning"], rows)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "none" if value in (None, {}, ()) or isinstance(value, BaseModel) else code(_written(value))


def _written(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(_written, value))}]" if isinstance(value, tuple) else str(value)


def _type(annotation: Any, metadata: list[Any] | tuple[Any, ...] = ()) -> str:
    for item in metadata:
        if isinstance(item, AfterValidator) and item.func in _BY_VALIDATOR:
            return _BY_VALIDATOR[item.func]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(inner[0], inner[1:])
    if origin in (Union, UnionType):
        return " or ".join(_type(one) for one in inner if one is not NoneType)
    if origin is tuple:
        return f"list of {_type(inner[0])}" + (", at least one" if any(isinstance(m, MinLen) for m in metadata) else "")
    if origin is dict:
        return f"mapping of {_type(inner[0])} to {_type(inner[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return ", ".join(code(member.value) for member in annotation)
    if annotation is int:
        return _range(metadata)
    return _WORDS.get(annotation) or _see(annotation)


def _range(metadata: list[Any] | tuple[Any, ...]) -> str:
    low = next((str(m.ge) for m in metadata if isinstance(m, Ge)), "")
    high = next((str(m.le) for m in metadata if isinstance(m, Le)), "")
    return f"whole number, {low} to {high}" if low and high else "whole number"


def _see(annotation: Any) -> str:
    if not _is_model(annotation):
        raise TypeError(f"the reference has no words for {annotation!r}: add them to reference_models.py")
    if annotation in (FlowSpec, StepSpec):
        return "flow" if annotation is FlowSpec else "step"
    return "mapping, see below"


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel) and not issubclass(annotation, RootModel)


def _model_of(annotation: Any) -> type[BaseModel]:
    found: type[BaseModel] = next(one for one in get_args(annotation) if _is_model(one))
    return found


VERBS = tuple(StepSpec.model_fields)
ENUMS: tuple[type[Enum], ...] = (Mode, LawfulBasis, OnWithdraw, Record)
