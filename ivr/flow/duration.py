# SPDX-License-Identifier: GPL-3.0-or-later
"""Times in configuration: `500ms`, `2s`, `5 min` for waiting; `90 days`, `6 months`, `1 year` for keeping."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

_MS = {
    "ms": 1,
    "s": 1000,
    "second": 1000,
    "seconds": 1000,
    "min": 60_000,
    "minute": 60_000,
    "minutes": 60_000,
    "h": 3_600_000,
    "hour": 3_600_000,
    "hours": 3_600_000,
}
# Nothing may outlive what was said: the shortest month has 28 days and the shortest year 365.
_DAYS = {"day": 1, "week": 7, "month": 28, "year": 365}
_PATTERN = re.compile(r"^\s*([0-9]+)(?:\.([0-9]{1,3}))?\s*([A-Za-z]+)\s*$")
_DURATION_EXPECTED = 'a time with its unit: "500ms", "2s", "5 min" or "2 hours"'
_PERIOD_EXPECTED = 'a whole number of days, weeks, months or years: "90 days" or "1 year"'


def plain_schema(parse: Callable[[object], object], cls: type) -> core_schema.CoreSchema:
    """A pydantic schema for a value type that reads its own text; instances pass unchanged."""

    def read(value: object) -> object:
        return value if isinstance(value, cls) else parse(value)

    return core_schema.no_info_plain_validator_function(
        read, serialization=core_schema.plain_serializer_function_ser_schema(str)
    )


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A time to wait, in whole milliseconds."""

    ms: int

    @property
    def seconds(self) -> float:
        return self.ms / 1000

    def __str__(self) -> str:
        for unit, size in (("h", 3_600_000), ("min", 60_000), ("s", 1000)):
            if self.ms and self.ms % size == 0:
                return f"{self.ms // size}{' ' if unit != 's' else ''}{unit}"
        return f"{self.ms}ms" if self.ms else "0s"

    @classmethod
    def parse(cls, value: object) -> Self:
        """From text such as `2s`. Raises ValueError (as a pydantic error with what was expected)."""
        match = _PATTERN.match(value) if isinstance(value, str) else None
        size = _MS.get(match[3].lower()) if match else None
        if match is None or size is None:
            raise _unreadable("a time", value, _DURATION_EXPECTED)
        ms, rest = divmod(int(match[1] + (match[2] or "").ljust(3, "0")) * size, 1000)
        if rest:
            raise _unreadable("a time", value, "no finer than a millisecond")
        return cls(ms)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return plain_schema(cls.parse, cls)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _schema: core_schema.CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "pattern": rf"^[0-9]+(\.[0-9]{{1,3}})? ?({'|'.join(_MS)})$", "examples": ["2s"]}


@dataclass(frozen=True, slots=True)
class Period:
    """How long something is kept. Said as written ("1 year"), enforced in days."""

    count: int
    unit: str
    """day, week, month or year."""

    @property
    def days(self) -> int:
        """Days that are kept at most: a month counts 28 and a year 365, so nothing outlives what was said."""
        return self.count * _DAYS[self.unit]

    def __str__(self) -> str:
        return f"{self.count} {self.unit}{'' if self.count == 1 else 's'}"

    @classmethod
    def parse(cls, value: object) -> Self:
        """From text such as `90 days`. Raises ValueError (as a pydantic error with what was expected)."""
        match = _PATTERN.match(value) if isinstance(value, str) else None
        unit = match[3].lower().removesuffix("s") if match else ""
        if match is None or match[2] or unit not in _DAYS:
            raise _unreadable("a retention", value, _PERIOD_EXPECTED)
        if int(match[1]) == 0:
            raise _unreadable("a retention", value, "at least 1 day; to keep nothing, use mode never")
        return cls(int(match[1]), unit)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return plain_schema(cls.parse, cls)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _schema: core_schema.CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^[1-9][0-9]* (day|week|month|year)s?$", "examples": ["90 days"]}


def _unreadable(kind: str, value: object, expected: str) -> PydanticCustomError:
    return PydanticCustomError("unreadable", "{what}", {"what": f"{value!r} is not {kind}", "expected": expected})
