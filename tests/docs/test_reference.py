# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing is undocumented, and the committed reference is the one that the code gives."""

import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from docs_kit import PAGES as DOCUMENTS
from docs_kit import REFERENCE, ROOT, spans
from ivr.audit.findings import Check
from ivr.audit.replay import Differs
from ivr.cli import COMMANDS
from ivr.cli.exits import MEANING, Exit
from ivr.cli.reference import PAGES, commands, pages
from ivr.cli.reference_models import settings_paths
from ivr.cli.reference_text import cell, member_docs
from ivr.flow.consent_step import Consent, Keys
from ivr.flow.consent_step import Storage as Place
from ivr.flow.model import FlowFile, FlowSpec, StepSpec
from ivr.flow.spoken import Prompt, RecordedNotice
from ivr.flow.verbs import Bridge, Goto, Hangup, Menu, Play, Reference
from ivr.ledger.catalogue import TYPES
from ivr.ledger.schema import METADATA
from ivr.node.settings import (
    Anchors,
    Archive,
    Checkpoint,
    Edge,
    EdgeTls,
    Inside,
    KeyFiles,
    Ledger,
    Limits,
    Listen,
    Log,
    Media,
    Metrics,
    NodeEdge,
    NodeFolder,
    Pool,
    Prompts,
    Retention,
    Rights,
    Settings,
    Sip,
    Storage,
    TimestampAuthority,
    Trunk,
    WitnessService,
)  # fmt: skip

SETTINGS: tuple[type[BaseModel], ...] = (
    Settings, Sip, Media, Pool, Edge, Listen, Inside, Trunk, NodeEdge, EdgeTls, Limits, Checkpoint, Ledger, Storage,
    Archive, KeyFiles, Retention, Anchors, TimestampAuthority, WitnessService, Rights, Prompts, Metrics, Log,
    NodeFolder,
)  # fmt: skip
FLOWS: tuple[type[BaseModel], ...] = (
    FlowFile, FlowSpec, StepSpec, Consent, Keys, Place, RecordedNotice, Prompt, Play, Menu, Bridge, Reference, Hangup,
    Goto,
)  # fmt: skip


def page(name: str) -> str:
    return (REFERENCE / name).read_text("utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_the_committed_page_is_the_one_the_code_gives(name: str) -> None:
    assert page(name) == pages()[name], "run: python -m ivr.cli.reference"


def test_there_is_no_page_that_nobody_writes() -> None:
    assert {path.name for path in REFERENCE.iterdir()} == set(PAGES)


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _models(kind)


def test_the_lists_of_models_above_are_whole() -> None:
    assert set(_models(Settings)) == set(SETTINGS)
    found = {model for start in (FlowSpec, StepSpec) for model in _models(start)} | {FlowFile, RecordedNotice}
    assert {model for model in found if model.__name__ != "Notice"} == set(FLOWS)


@pytest.mark.parametrize("model", [*SETTINGS, *FLOWS], ids=lambda model: model.__name__)
def test_every_key_of_a_file_says_what_it_means(model: type[BaseModel]) -> None:
    silent = [name for name, field in model.model_fields.items() if not (field.description or "").strip()]
    assert not silent
    text = page("settings.md" if model in SETTINGS else "flows.md")
    for field in model.model_fields.values():
        if model in SETTINGS or field.annotation is not None:
            assert cell(field.description or "") in text, field.description


def test_every_setting_is_in_the_reference_and_in_the_example() -> None:
    text, example = page("settings.md"), (ROOT / "config" / "server.yaml").read_text("utf-8")
    for path in settings_paths():
        name = path.split(".", 1)[1] if "." in path else path
        assert f"| `{name}` |" in text, path
        assert f"{path.rpartition('.')[2]}:" in example, path


@pytest.mark.parametrize("verb", StepSpec.model_fields)
def test_every_verb_has_its_section(verb: str) -> None:
    assert f"\n## {verb}\n" in page("flows.md")


@pytest.mark.parametrize("kind", TYPES)
def test_every_event_type_and_field_is_documented(kind: str) -> None:
    declared = TYPES[kind]
    assert declared.summary.strip()
    section = page("events.md").split(f"\n### {kind}\n")[1].split("\n##")[0]
    assert declared.summary[1:] in section
    for name, meaning in {**declared.data, **declared.personal}.items():
        assert f"| `{name}` |" in section
        assert meaning.strip()
        assert cell(meaning) in section


@pytest.mark.parametrize("code", Exit)
def test_every_exit_code_is_documented(code: Exit) -> None:
    assert f"| {int(code)} | `{code.name}` | {MEANING[code]} |" in page("exit-codes.md")


def test_every_command_of_the_list_is_documented() -> None:
    assert {path.split()[0] for path, _ in commands()} == set(COMMANDS)


@pytest.mark.parametrize(("path", "command"), [pytest.param(path, cmd, id=path) for path, cmd in commands()])
def test_every_command_and_option_says_what_it_does(path: str, command: click.Command) -> None:
    assert (command.help or "").strip()
    section = page("cli.md").split(f"\n## ivr {path}\n")[1].split("\n## ")[0]
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert (parameter.help or "").strip(), parameter.opts
            assert all(f"`{name}" in section for name in parameter.opts), parameter.opts


@pytest.mark.parametrize("found", [*Check, *Differs])
def test_every_finding_is_documented_and_explained(found: Enum) -> None:
    meaning = member_docs(type(found))[str(found.value)]
    assert meaning
    assert f"| `{found.value}` | {cell(meaning)} |" in page("findings.md")
    audit = (ROOT / "docs" / "audit" / "README.md").read_text("utf-8")
    assert f"`{found.value}`" in audit.split("## What a finding means")[1].split("\n## ")[0]


@pytest.mark.parametrize("name", METADATA.tables)
def test_every_table_of_the_log_is_documented(name: str) -> None:
    assert f"\n| `{name}` | " in (ROOT / "docs" / "audit" / "README.md").read_text("utf-8")


def unknown_names(page: Path) -> list[str]:
    """Words in code that look like an event type or a setting and are neither."""
    groups = {name.partition(".")[0] for name in [*TYPES, *settings_paths()]} - {"flows"}
    settings = {path.rsplit(".", depth)[0] for path in settings_paths() for depth in range(3)}
    found = [span for span in spans(page) if re.fullmatch(r"[a-z]+(\.[a-z_]+)+", span)]
    named = [span for span in found if span.partition(".")[0] in groups]
    files = (".key", ".vkey", ".sqlite", ".sock", ".age")
    return [name for name in named if name not in TYPES and name not in settings and not name.endswith(files)]


WRITTEN = [document for document in DOCUMENTS if document.parent != REFERENCE]


@pytest.mark.parametrize("document", WRITTEN, ids=lambda document: str(document.relative_to(ROOT)))
def test_events_and_settings_that_are_named_exist(document: Path) -> None:
    assert not unknown_names(document)


def test_a_name_that_does_not_exist_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("`call.received` `call.recieved` `limits.calls` `limits.call` `keys/ledger.key`")
    assert unknown_names(page) == ["call.recieved", "limits.call"]
