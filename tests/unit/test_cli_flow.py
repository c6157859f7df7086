# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr flow`: exit codes, stdout and the committed schemas."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ivr.cli.exits import Exit
from ivr.cli.flow import SCHEMAS, command
from ivr.flow.schema import schema_text
from ivr.packaged import packaged

BAD = Path(__file__).parents[1] / "data" / "flows" / "bad"
SHIPPED = str(packaged("config") / "flows")


def ivr_flow(*words: str | Path) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words])


def test_check_passes_what_is_shipped() -> None:
    result = ivr_flow("check", SHIPPED)
    assert result.exit_code == Exit.OK
    assert "support: ok (100, 4930100*)" in result.stdout


def test_check_reports_every_mistake_and_fails() -> None:
    result = ivr_flow("check", BAD / "many-mistakes.yaml", BAD / "no-numbers.yaml")
    assert result.exit_code == Exit.CHECK_FAILED
    assert len(result.stdout.splitlines()) == 6
    assert result.stderr == "6 mistakes\n"


def test_check_in_json() -> None:
    result = ivr_flow("check", "--json", BAD / "start-unknown.yaml")
    assert result.exit_code == Exit.CHECK_FAILED
    report = json.loads(result.stdout)
    assert report["ok"] is False
    assert report["mistakes"] == [
        {
            "file": str(BAD / "start-unknown.yaml"),
            "line": 6,
            "column": 12,
            "what": "there is no section `mein`",
            "expected": "main or bye",
            "nearest": "main",
            "path": [],
        }
    ]
    good = json.loads(ivr_flow("check", "--json", SHIPPED).stdout)
    assert good["ok"] is True
    assert {"name": "survey", "numbers": ["200"]} in good["flows"]


def test_a_file_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    assert ivr_flow("check", tmp_path / "none.yaml").exit_code == Exit.COULD_NOT_RUN


def test_simulate() -> None:
    result = ivr_flow("simulate", SHIPPED, "--number", "100", "--keys", "9")
    assert result.exit_code == Exit.OK
    assert "joined: NOT RECORDED" in result.stdout
    lines = json.loads(ivr_flow("simulate", SHIPPED, "--number", "100", "--json").stdout)
    assert {"who": "call", "text": "ends", "place": None} in lines


@pytest.mark.parametrize(
    "words",
    [
        ["simulate", SHIPPED, "--number", "100", "--keys", "x"],
        ["simulate", str(BAD / "number-twice.yaml"), "--number", "1"],
        ["simulate", str(BAD.parent / "good" / "smallest.yaml"), "--number", "77"],
        ["graph", str(BAD / "number-twice.yaml")],
    ],
)
def test_what_cannot_be_run(words: list[str]) -> None:
    assert ivr_flow(*words).exit_code == Exit.COULD_NOT_RUN


def test_graph_has_every_section() -> None:
    result = ivr_flow("graph", SHIPPED, "--name", "support")
    assert result.exit_code == Exit.OK
    assert result.stdout.startswith("flowchart TD\n")
    assert all(f"<b>{name}</b>" in result.stdout for name in ("main", "orders", "desk", "occupied", "nobody"))
    assert result.stdout.count("flowchart") == 1


@pytest.mark.parametrize("name", list(SCHEMAS))
def test_the_committed_schemas_are_current(name: str) -> None:
    committed = (packaged("config") / "schema" / name).read_text()
    assert committed == schema_text(*SCHEMAS[name]), "run: ivr flow schema"


def test_schema_writes_where_it_is_told(tmp_path: Path) -> None:
    assert ivr_flow("schema", tmp_path / "new").exit_code == Exit.OK
    assert {file.name for file in (tmp_path / "new").iterdir()} == set(SCHEMAS)


def test_schemas_show_defaults_as_they_are_written() -> None:
    schema = json.loads(schema_text(*SCHEMAS["server.schema.json"]))["$defs"]
    assert schema["Ledger"]["properties"]["permit_timeout"]["default"] == "500ms"
    assert schema["Ledger"]["properties"]["checkpoint"]["default"] == {"events": 1000, "interval": "1 min"}
