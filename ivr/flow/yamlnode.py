# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML text into plain values, each with its line and column, without the traps of YAML 1.1.

Read as YAML 1.2's core schema: only true and false are booleans (`no` stays the text "no"), there are no octal
or base-60 numbers, and a mapping's key is always text (`1:` is the key "1"). What would lose characters as a
number (a leading zero or plus) stays text, because telephone numbers look like that.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import yaml

from ivr.flow.place import FileError, Mistake, Place

Value: TypeAlias = "str | int | float | bool | list[Value] | dict[str, Value] | None"
Where: TypeAlias = tuple[str | int, ...]

_MAX_NODES = 50_000
_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """PyYAML's reader with our own reading of plain scalars."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  (PyYAML's shape)


for _name, _pattern, _first in (
    ("bool", r"true|false", "tf"),
    ("null", r"~|null|", "~n\0"),
    ("int", r"-?(0|[1-9][0-9]*)", "-0123456789"),
    ("float", r"-?(0|[1-9][0-9]*)\.[0-9]+", "-0123456789"),
):
    _firsts = [c if c != "\0" else "" for c in _first]
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(rf"^(?:{_pattern})$"), _firsts)


@dataclass(slots=True)
class Source:
    """The places of every value of one file. A path is the keys and list positions from the top."""

    file: Path
    values: dict[Where, Place] = field(default_factory=dict)
    keys: dict[Where, Place] = field(default_factory=dict)

    def place(self, path: Sequence[str | int], *, key: bool = False) -> Place:
        """Where `path` is. Parts that are not in the file are left out (a missing key is where its parent is).

        `key`: the place of the key, not of what it holds; a mapping or list is always where its key is.
        """
        at: Where = ()
        for part in path:
            if (*at, part) in self.values:
                at = (*at, part)
        if at not in self.values:
            return Place(self.file, 1, 1)
        return self.keys.get(at, self.values[at]) if key else self.values[at]


def read_yaml(file: Path) -> tuple[Value, Source]:
    """The file's one document and its places. Raises FileError with every mistake of this stage."""
    try:
        text = file.read_bytes().decode()
    except OSError as error:
        raise FileError([Mistake(Place(file, 1, 1), f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise FileError([Mistake(Place(file, 1, 1), f"is not UTF-8 text (byte {error.start})")]) from error
    return parse_yaml(text, file)


def parse_yaml(text: str, file: Path) -> tuple[Value, Source]:
    """As `read_yaml`, of text that is already there; `file` is only named in mistakes."""
    traps = _comment_traps(text, file)
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.reader.ReaderError as error:
        what = f"character {error.character!r} does not belong in a text file"
        raise FileError([Mistake(Place(file, 1, 1), what)]) from error
    except yaml.MarkedYAMLError as error:
        raise FileError([*traps, _syntax(error, file)]) from error
    except RecursionError:
        raise FileError([_too_deep(text, file)]) from None
    reader = _Reader(file, traps)
    try:
        value = None if node is None else reader.value(node, ())
    except RecursionError:
        raise FileError([_too_deep(text, file)]) from None
    if reader.mistakes:
        raise FileError(reader.mistakes)
    return value, reader.source


class _Reader:
    """Turns composed nodes into values, noting places and collecting mistakes."""

    def __init__(self, file: Path, mistakes: Iterable[Mistake]) -> None:
        self.source = Source(file)
        self.mistakes = list(mistakes)
        self._open: list[yaml.Node] = []
        self._seen = 0

    def value(self, node: yaml.Node, path: Where, place: Place | None = None) -> Value:
        self.source.values[path] = place or self._place(node)
        self._seen += 1
        if node in self._open or self._seen > _MAX_NODES:
            self._mistake(node, "an alias that contains itself, or far too much of it", "the values written out")
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        self._open.append(node)
        try:
            return self._mapping(node, path) if isinstance(node, yaml.MappingNode) else self._list(node, path)
        finally:
            self._open.pop()

    def _mapping(self, node: yaml.MappingNode, path: Where) -> dict[str, Value]:
        result: dict[str, Value] = {}
        for key_node, item in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._mistake(key_node, "a list or mapping as a key", "a name")
                continue
            key = str(key_node.value)
            at = (*path, key)
            if key in result:
                first = self.source.keys[at].line
                self._mistake(key_node, f"`{key}` is here twice; it is already on line {first}", "each key once")
                continue
            place = self._place(key_node)
            self.source.keys[at] = place
            result[key] = self.value(item, at, None if isinstance(item, yaml.ScalarNode) else place)
        return result

    def _list(self, node: yaml.Node, path: Where) -> list[Value]:
        return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]

    def _scalar(self, node: yaml.ScalarNode) -> Value:
        text = str(node.value)
        kind = node.tag.removeprefix(_TAG)
        try:
            match kind:
                case "str":
                    return text
                case "int":
                    return int(text)
                case "float":
                    return float(text)
                case "bool":
                    return text == "true"
                case "null":
                    return None
        except ValueError:  # a tag in front of what it does not fit, or thousands of digits
            self._mistake(node, f"`{text[:20]}` is not a number", "a whole number or a decimal one")
            return None
        self._mistake(node, f"the YAML tag {node.tag!r}", "plain text, numbers, lists and mappings")
        return None

    def _place(self, node: yaml.Node) -> Place:
        return Place(self.source.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def _mistake(self, node: yaml.Node, what: str, expected: str) -> None:
        self.mistakes.append(Mistake(self._place(node), what, expected))


def _too_deep(text: str, file: Path) -> Mistake:
    """Deeper than Python goes. The place is the line that opens most."""
    lines = text.splitlines() or [""]
    worst = max(range(len(lines)), key=lambda n: sum(map(lines[n].count, "[{-?:")) + len(lines[n]) / 1_000)
    return Mistake(Place(file, worst + 1, 1), "nested too deep", "lists and mappings a few levels deep")


_HASH_KEY = re.compile(r"^(\s*)(?:.*\{\s*|.*,\s*)?#:(?:\s|$)")


def _comment_traps(text: str, file: Path) -> list[Mistake]:
    """Lines such as `#: operator`, which YAML reads as a comment where the # key was meant."""
    return [
        Mistake(Place(file, number, line.index("#") + 1), "an unquoted # starts a comment", 'the key quoted: "#"')
        for number, line in enumerate(text.splitlines(), 1)
        if _HASH_KEY.match(line) and not set("'\"") & set(line[: line.index("#")])
    ]


def _syntax(error: yaml.MarkedYAMLError, file: Path) -> Mistake:
    mark = error.problem_mark or error.context_mark
    if error.context_mark and "end of stream" in (error.problem or ""):
        mark = error.context_mark  # where the quote or bracket was opened, not where the file ends
    place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1, 1)
    problem, context = error.problem or "", error.context or ""
    if "alias" in context or "alias" in problem:
        return Mistake(place, "an unquoted * starts a YAML alias", 'the star quoted: "*"')
    if "\\t" in problem or "'\t'" in problem:
        return Mistake(place, "a tab character", "spaces: YAML does not indent with tabs")
    if "expected a single document" in context:
        return Mistake(place, "a second document (---)", "one document a file")
    why = " ".join(part for part in (context, problem) if part)
    return Mistake(place, f"not YAML: {why}", "valid YAML (check quotes, colons and indentation here)")
