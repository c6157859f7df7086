# SPDX-License-Identifier: GPL-3.0-or-later
"""Which flow a number reaches, and numbers that two flows claim."""

from pathlib import Path

import pytest

from ivr.flow.load import FlowSet, load_flows
from ivr.flow.place import FileError


def flow(name: str, *numbers: str) -> str:
    listed = ", ".join(f'"{number}"' for number in numbers)
    return f"  {name}:\n    numbers: [{listed}]\n    language: en\n    sections:\n      main: [hangup]\n"


def load(folder: Path, **files: str) -> FlowSet:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text("flows:\n" + text)
    return load_flows([folder])


def name_for(flows: FlowSet, user: str) -> str | None:
    found = flows.flow_for(user)
    return found.name if found else None


def test_exact_wins_then_the_longest_prefix_then_default(tmp_path: Path) -> None:
    flows = load(
        tmp_path,
        one=flow("short", "49*") + flow("exact", "493012"),
        two=flow("long", "4930*") + flow("rest", "default"),
    )
    found = [name_for(flows, user) for user in ("493012", "4930", "493013", "4940", "1", "", "default", "49*")]
    assert found == ["exact", "long", "long", "short", "rest", "rest", "rest", "short"]


def test_without_default_an_unknown_number_has_no_flow(tmp_path: Path) -> None:
    flows = load(tmp_path, one=flow("a", "1", "2*"))
    assert [name_for(flows, user) for user in ("1", "11", "2", "", "default")] == ["a", None, "a", None, None]


def test_a_user_part_is_case_sensitive_and_may_have_letters(tmp_path: Path) -> None:
    flows = load(tmp_path, one=flow("a", "Support"))
    assert [name_for(flows, user) for user in ("Support", "support")] == ["a", None]


def test_one_number_in_two_files_names_both_places(tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        load(tmp_path, one=flow("a", "1", "49*"), two=flow("b", "2", "49*"))
    (mistake,) = caught.value.mistakes
    assert str(mistake).startswith(f"{tmp_path}/two.yaml:3:20: number '49*' already belongs to flow `a` at")
    assert f"{tmp_path}/one.yaml:3:20" in mistake.what


def test_one_name_in_two_files_names_both_places(tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        load(tmp_path, one=flow("a", "1"), two=flow("a", "2"))
    (mistake,) = caught.value.mistakes
    assert mistake.what == f"flow `a` is already at {tmp_path}/one.yaml:2:3"


def test_an_empty_folder_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no flow is in this folder"):
        load_flows([tmp_path])


def test_a_recorded_file_is_read_from_the_folder_of_its_flow(tmp_path: Path) -> None:
    (tmp_path / "hello.wav").write_bytes(b"")
    text = flow("a", "1").replace("[hangup]", "[{play: {file: hello.wav, transcript: Hello.}}, hangup]")
    step = load(tmp_path, one=text).named("a").sections["main"][0]
    assert step.model_dump()["file"] == tmp_path / "hello.wav"


def test_start_is_the_first_section_unless_named(tmp_path: Path) -> None:
    two = "      main: [{goto: {section: end}}]\n      end: [hangup]\n"
    text = flow("a", "1").replace("      main: [hangup]\n", two)
    assert load(tmp_path, one=text).named("a").start == "main"
    backwards = "      end: [hangup]\n      begin: [{goto: end}]\n"
    named = flow("a", "1").replace(
        "    sections:\n      main: [hangup]\n", f"    start: begin\n    sections:\n{backwards}"
    )
    assert load(tmp_path, one=named).named("a").start == "begin"
    with pytest.raises(KeyError):
        load(tmp_path, one=named).named("b")
