# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML read without its traps, and every mistake at its line and column."""

from pathlib import Path

import pytest
from pydantic import Field

from ivr.flow.duration import Duration
from ivr.flow.place import FileError, Mistake, Place
from ivr.flow.yamlfile import Node, load_model, validate
from ivr.flow.yamlnode import parse_yaml

FILE = Path("x.yaml")


class Inner(Node):
    """Inner."""

    count: int = 1
    """How many. At most a few."""
    wait: Duration = Duration(0)
    """How long."""


class Outer(Node):
    """Outer."""

    name: str
    """The name of it. Anything."""
    flag: bool = False
    """A flag."""
    inner: Inner | None = None
    """An inner one."""
    items: tuple[Inner, ...] = ()
    """Inner ones."""
    by_name: dict[str, Inner] = Field(default_factory=dict)
    """Named ones."""


def read(text: str) -> Outer:
    value, source = parse_yaml(text, FILE)
    return validate(value, source, Outer)


def refused(text: str) -> tuple[Mistake, ...]:
    with pytest.raises(FileError) as caught:
        read(text)
    return caught.value.mistakes


def mistakes(text: str) -> list[tuple[int, int, str]]:
    return [(m.line, m.column, m.what) for m in refused(text)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3", -3),
        ("049", "049"),
        ("+49", "+49"),
        ("0", 0),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("12:30", "12:30"),
        ("2001-01-01", "2001-01-01"),
        ("1.5", 1.5),
        ("1e3", "1e3"),
        ("'12'", "12"),
        ('"*"', "*"),
    ],
)
def test_scalars(text: str, value: object) -> None:
    parsed, _ = parse_yaml(f"a: {text}", FILE)
    assert isinstance(parsed, dict)
    assert parsed["a"] == value
    assert type(parsed["a"]) is type(value)


def test_keys_are_text() -> None:
    parsed, _ = parse_yaml('{1: a, 0: b, no: c, 1.5: d, "*": e, "#": f, true: g, null: h}', FILE)
    assert isinstance(parsed, dict)
    assert list(parsed) == ["1", "0", "no", "1.5", "*", "#", "true", "null"]


def test_yes_is_true_where_a_boolean_belongs() -> None:
    assert read("name: n\nflag: yes").flag is True


def test_a_number_is_text_where_text_belongs() -> None:
    assert read("name: 0123").name == "0123"
    assert read("name: 123").name == "123"


def test_all_mistakes_at_once_each_at_its_place() -> None:
    text = "flag: maybe\ninner:\n  coumt: 3\n  wait: 2\nitems:\n  - count: x\n  - {}\n  - wiat: 1s\n"
    text += "by_name:\n  a: {count: []}\n"
    assert mistakes(text) == [
        (1, 1, "`name` is missing"),
        (1, 7, "`flag` cannot be 'maybe'"),
        (3, 3, "unknown key `coumt`"),
        (4, 9, "2 is not a time"),
        (6, 12, "`count` cannot be 'x'"),
        (8, 5, "unknown key `wiat`"),
        (10, 7, "`count` cannot be a list"),
    ]


def test_the_nearest_name_and_the_expected_ones() -> None:
    unknown, missing = sorted(refused("nmae: x"), key=lambda m: m.what, reverse=True)
    assert (unknown.nearest, unknown.expected) == ("name", "name, flag, inner, items or by_name")
    assert missing.expected == "the name of it"
    assert str(unknown).startswith("x.yaml:1:1: unknown key `nmae`; expected name, ")
    assert unknown.as_json()["line"] == 1


def test_a_far_word_has_no_nearest_name() -> None:
    assert refused("name: n\nzzz: x")[0].nearest is None


def test_places() -> None:
    _, source = parse_yaml("a:\n  b: [1, {c: 2}]\n", FILE)
    assert source.place(("a", "b", 1, "c")) == Place(FILE, 2, 14)
    assert source.place(("a", "b", 1, "c"), key=True) == Place(FILE, 2, 11)
    assert source.place(("a",)) == Place(FILE, 1, 1)
    assert source.place(("a", "b", 1, "missing")) == Place(FILE, 2, 10)
    assert source.place(("nowhere",)) == Place(FILE, 1, 1)


def test_the_bomb_of_aliases_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(FileError, match="far too much of it"):
        parse_yaml("\n".join(lines), FILE)


def test_aliases_are_allowed() -> None:
    value, _ = parse_yaml("a: &x {b: 1}\nc: *x", FILE)
    assert value == {"a": {"b": 1}, "c": {"b": 1}}


@pytest.mark.parametrize("text", ["", "# nothing\n", "[]", "text"])
def test_a_file_that_is_no_mapping(text: str) -> None:
    assert mistakes(text)[0][0] == 1


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"none.yaml:1:1: cannot be read"):
        load_model(tmp_path / "none.yaml", Outer)
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9")
    with pytest.raises(FileError, match="not UTF-8"):
        load_model(tmp_path / "latin.yaml", Outer)
    (tmp_path / "zero.yaml").write_bytes(b"name: \x00")
    with pytest.raises(FileError, match="does not belong in a text file"):
        load_model(tmp_path / "zero.yaml", Outer)


@pytest.mark.parametrize(
    "text", ['a: "#"', "a: b # : c", "# keys:\na: 1", "#: comment of the file\na: 1", "a: 'x, # : y'"]
)
def test_the_hash_trap_and_what_only_looks_like_it(text: str) -> None:
    if text.startswith("#:"):
        with pytest.raises(FileError, match="unquoted #"):
            parse_yaml(text, FILE)
    else:
        parse_yaml(text, FILE)
