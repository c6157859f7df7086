# SPDX-License-Identifier: GPL-3.0-or-later
"""A YAML file into a pydantic model, with file, line and column for every mistake, and all of them at once."""

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, RootModel, ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from ivr.flow.place import FileError, Mistake, nearest, one_of
from ivr.flow.yamlnode import Source, Value, read_yaml

M = TypeVar("M", bound=BaseModel)


class Node(BaseModel):
    """A mapping in a YAML file: unknown keys are refused, values cannot change after loading."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        coerce_numbers_to_str=True,
        validate_default=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )


def or_text(schema: dict[str, Any], **text: Any) -> dict[str, Any]:
    """The JSON Schema of a model that also has a short form in plain text."""
    return {"anyOf": [{"type": "string", **text}, schema]}


class Rules:
    """Collects what a model's own rules find, so that one validator reports all of it, each at its own key."""

    def __init__(self) -> None:
        self._found: list[InitErrorDetails] = []

    def refuse(self, at: str | Sequence[str | int], what: str, expected: str | None = None) -> None:
        """Note that the value at `at` (a key, or a path below the model) cannot stay as it is."""
        loc = (at,) if isinstance(at, str) else tuple(at)
        self._found.append(InitErrorDetails(type=rule_error(what, expected), loc=loc, input=None))

    def done(self, title: str) -> None:
        """Raise what was noted, if anything was."""
        if self._found:
            raise ValidationError.from_exception_data(title, self._found, hide_input=True)


def rule_error(what: str, expected: str | None = None, near: str | None = None) -> PydanticCustomError:
    """An error for a validator to raise: what is wrong, what was expected, the nearest valid name."""
    return PydanticCustomError("rule", "{what}", {"what": what, "expected": expected, "nearest": near})


def load_model(file: Path, model: type[M]) -> tuple[M, Source]:
    """The model in `file` and the place of every value. Raises FileError with every mistake."""
    value, source = read_yaml(file)
    return validate(value, source, model), source


def validate(value: Value, source: Source, model: type[M]) -> M:
    """`value` as `model`. Validators see the file's folder as `info.context["folder"]`."""
    try:
        return model.model_validate(value, context={"folder": source.file.parent})
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise FileError([_mistake(item, source, model) for item in details if not _follows(item, details)]) from error


def _follows(error: ErrorDetails, others: Sequence[ErrorDetails]) -> bool:
    """Whether a list only counts as too short because of an item of it that is refused anyway."""
    loc = error["loc"]
    return error["type"] == "too_short" and any(len(o["loc"]) > len(loc) == _shared(o["loc"], loc) for o in others)


def _shared(one: Sequence[str | int], other: Sequence[str | int]) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _mistake(error: ErrorDetails, source: Source, model: type[BaseModel]) -> Mistake:
    loc = error["loc"]
    name = next((part for part in reversed(loc) if isinstance(part, str) and part != "[key]"), "the file")
    context: Mapping[str, Any] = error.get("ctx", {})
    kind = error["type"]
    if kind == "missing":
        field = _field_text(model, loc)
        return Mistake(source.place(loc[:-1], key=True), f"`{name}` is missing", field)
    if kind == "extra_forbidden":
        names = _names(_type_at(model, loc[:-1]))
        place = source.place(loc, key=True)
        return Mistake(place, f"unknown key `{name}`", one_of(names), nearest(name, names))
    place = source.place(loc, key="[key]" in loc)
    if "what" in context:
        return Mistake(place, context["what"], context.get("expected"), context.get("nearest"))
    given = error["input"]
    if kind in ("enum", "literal_error"):
        names = _names(_type_at(model, loc))
        near = nearest(str(given), names)
        return Mistake(place, f"{_shown(given)} is not a known {name}", one_of(names), near)
    if kind == "too_short":
        return Mistake(place, f"`{name}` is empty", "at least one")
    if kind in _EXPECTED:
        return Mistake(place, f"`{name}` cannot be {_shown(given)}", _EXPECTED[kind])
    return Mistake(place, f"`{name}` cannot be {_shown(given)}", _lower(error["msg"].removeprefix("Input should be ")))


_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping (name: value)",
    "model_type": "a mapping (name: value)",
    "model_attributes_type": "a mapping (name: value)",
    "path_type": "a path",
}


def first_sentence(text: str) -> str:
    """Of a description; `Art. 6` does not end one."""
    return re.split(r"(?<!Art)\.(?:\s|$)", text)[0].replace("\n", " ")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _shown(value: object) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, (dict, BaseModel)):
        return "a mapping"
    return repr(value) if len(str(value)) <= 60 else repr(str(value)[:57] + "...")


def _type_at(annotation: Any, loc: Sequence[str | int]) -> Any:
    """The declared type of the value at `loc`, following models, lists and mappings. None where it is not declared."""
    for part in loc:
        annotation = _bare(annotation)
        if isinstance(annotation, type) and issubclass(annotation, RootModel):
            annotation = _bare(annotation.model_fields["root"].annotation)
        arguments = get_args(annotation)
        if isinstance(annotation, type) and not arguments and issubclass(annotation, BaseModel):
            field = annotation.model_fields.get(str(part))
            annotation = field.annotation if field else None
        elif arguments:
            annotation = arguments[1] if issubclass(get_origin(annotation) or object, Mapping) else arguments[0]
        else:
            return None
    return _bare(annotation)


def _bare(annotation: Any) -> Any:
    """Without Annotated, and of a union its first member that is not None."""
    while True:
        if hasattr(annotation, "__metadata__"):
            annotation = annotation.__origin__
        elif get_origin(annotation) in (Union, UnionType):
            annotation = next(a for a in get_args(annotation) if a is not type(None))
        else:
            return annotation


def _names(annotation: Any) -> list[str]:
    """The names that may stand at a place: a model's keys, an enum's values, a literal's members."""
    if get_origin(annotation) is Literal:
        return [str(a) for a in get_args(annotation)]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return list(annotation.model_fields)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [str(member.value) for member in annotation]
    return []


def _field_text(model: type[BaseModel], loc: Sequence[str | int]) -> str | None:
    """The first sentence of a field's description."""
    owner = _type_at(model, loc[:-1])
    if not (isinstance(owner, type) and issubclass(owner, BaseModel)):
        return None
    field = owner.model_fields.get(str(loc[-1]))
    text = (field.description or "") if field else ""
    return _lower(first_sentence(text)) or None
