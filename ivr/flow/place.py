# SPDX-License-Identifier: GPL-3.0-or-later
"""A place in a file, and a mistake at it: what `ivr flow check` prints and what loading raises."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where in a file; line and column count from 1."""

    file: Path
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong in a file, with what was expected there and the nearest valid name if one is near."""

    place: Place
    what: str
    expected: str | None = None
    nearest: str | None = None
    path: tuple[str, ...] = ()
    """For a mistake on a way through the flow: the steps of that way, each with its file and line."""

    @property
    def file(self) -> Path:
        return self.place.file

    @property
    def line(self) -> int:
        return self.place.line

    @property
    def column(self) -> int:
        return self.place.column

    def __str__(self) -> str:
        text = f"{self.place}: {self.what}"
        if self.expected:
            text += f"; expected {self.expected}"
        if self.nearest:
            text += f" (did you mean {self.nearest!r}?)"
        return text + "".join(f"\n    {step}" for step in self.path)

    def as_json(self) -> dict[str, object]:
        """For `--json`: plain values under stable names."""
        return {
            "file": str(self.file),
            "line": self.line,
            "column": self.column,
            "what": self.what,
            "expected": self.expected,
            "nearest": self.nearest,
            "path": list(self.path),
        }


class FileError(Exception):
    """A file (or a set of them) that cannot be used, with every mistake that was found in it."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes, key=lambda m: m.place))
        super().__init__("\n".join(str(m) for m in self.mistakes))


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The valid name a mistyped one most probably meant, or None when nothing is near."""
    by_fold = {name.casefold().replace("-", "_"): name for name in names}
    found = get_close_matches(word.casefold().replace("-", "_"), by_fold, n=1, cutoff=0.6)
    return by_fold[found[0]] if found else None


def one_of(names: Iterable[str]) -> str:
    """`a, b or c`, in the order given."""
    listed = list(names)
    if not listed:
        return "nothing"
    return listed[0] if len(listed) == 1 else ", ".join(listed[:-1]) + " or " + listed[-1]
