# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration that is anything at all: never a traceback, always mistakes with file and line."""

import random
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ivr.flow.load import load_flows
from ivr.flow.place import FileError
from ivr.flow.yamlnode import parse_yaml
from ivr.node.settings import FILE, Settings
from ivr.packaged import packaged

RUNS = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
MUTANTS = 60
BREAKS = re.compile(r"[\n\r\x85\u2028\u2029]")

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain, inner, max_size=3))
SPECIAL = ["a: ", "- ", "[", "]", "{", "}", "\n", "  ", "\t", "#", "#: x", "*", "&a ", "*a", "!!int ", "!x ", "'", '"']
SPECIAL += ["|", ">", "---\n", "...", "%YAML 1.1\n", "? ", ": ", "<<: ", "~", "0x1", "\x85", "\ufeff", "\0", "9" * 5000]
snippets = st.sampled_from(SPECIAL)
texts = st.lists(snippets | st.text(max_size=5), max_size=30).map("".join)


def told(error: FileError, file: Path) -> None:
    """What `ivr flow check` shows of it."""
    assert error.mistakes
    lines = len(BREAKS.split(file.read_text("utf-8", errors="replace"))) + 1
    for mistake in error.mistakes:
        assert mistake.what
        assert 1 <= mistake.line <= lines
        assert mistake.column >= 1
        assert str(mistake)


def loads(folder: Path, text: str) -> None:
    """As flows and as settings."""
    file = folder / FILE
    file.write_text(text, "utf-8", errors="surrogatepass")
    for load in (lambda: Settings.load(folder), lambda: load_flows([file])):
        try:
            load()
        except FileError as error:
            told(error, file)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("yaml")


@RUNS
@given(texts)
def test_any_text(folder: Path, text: str) -> None:
    loads(folder, text)


@RUNS
@given(values)
def test_any_values(folder: Path, value: object) -> None:
    loads(folder, yaml.safe_dump(value))


@RUNS
@given(st.sampled_from(sorted(Settings.model_fields)), values)
def test_any_value_for_a_group_of_settings(folder: Path, group: str, value: object) -> None:
    loads(folder, yaml.safe_dump({group: value}))


@RUNS
@given(values, values)
def test_any_value_in_a_flow(folder: Path, section: object, step: object) -> None:
    flow = {"numbers": ["1"], "language": "en", "sections": {"main": [step], "other": section}}
    loads(folder, yaml.safe_dump({"flows": {"x": flow}}))


@pytest.mark.parametrize(
    "source", ["server.yaml", *(f"flows/{p.name}" for p in sorted((packaged("config") / "flows").iterdir()))]
)
def test_what_we_ship_with_a_part_of_it_changed(folder: Path, source: str) -> None:
    original = (packaged("config") / source).read_text()
    rng = random.Random(source)
    for _ in range(MUTANTS):
        lines = original.splitlines()
        at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
        match rng.randrange(5):
            case 0:
                del lines[at]
            case 1:
                lines[at], lines[other] = lines[other], lines[at]
            case 2:
                lines[at] = lines[at][rng.randrange(len(lines[at]) + 1) :]
            case 3:
                lines.insert(at, lines[other])
            case _:
                lines[at] = lines[at].replace(":", rng.choice([": !!int ", ": [", ": *", ":", ": -1 #"]), 1)
        loads(folder, "\n".join(lines))


@pytest.mark.parametrize(
    "text",
    ["[" * 5000, "{a: " * 3000, "- " * 3000, "? " * 3000, "x: " + "9" * 5000, "x: !!int y", "x: !!float y", "!!int"],
)
def test_found_before(text: str) -> None:
    with pytest.raises(FileError) as caught:
        parse_yaml(text, Path("x.yaml"))
    assert caught.value.mistakes[0].line == 1
