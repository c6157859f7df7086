# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documents tell a reader to type exists, loads and does what they say."""

import json
import re
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path

import click
import pytest

from docs_kit import PAGES, ROOT, Block, blocks, spans
from ivr.cli import main
from ivr.flow.library import Library
from ivr.flow.load import load_flows
from ivr.flow.prompts import prompt_mistakes
from ivr.ledger.keeping import PersonalSettings
from ivr.ledger.keys import load_ledger_key, load_pseudonym_key
from ivr.ledger.log import Entry, Log
from ivr.node.initialise import initialise
from ivr.node.settings import Settings

ORIGIN = "example.org/consent-log"


class NoSuchCommand(Exception):
    """A command line that names something the program does not have."""


def check_command(line: str) -> None:
    """Raises NoSuchCommand unless every word that names a command or an option of `ivr …` exists."""
    words = shlex.split(line, comments=True)
    command: click.Command = main
    words = words[1:]
    while words and isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0])
        if found is None:
            break
        command, words = found, words[1:]
    options = {name for parameter in command.params if isinstance(parameter, click.Option) for name in parameter.opts}
    if isinstance(command, click.Group):
        options |= {"--version", "--help"}
        if words and not words[0].startswith("-"):
            raise NoSuchCommand(f"{line}: no command {words[0]!r}")
    for word in words:
        if word.startswith("--") and word not in options:
            raise NoSuchCommand(f"{line}: no option {word}")


def commands_in(text: str) -> list[str]:
    """The lines of a block that run `ivr`."""
    found = (re.match(r"(?:[\w./-]+/)?(ivr .*)", line.strip()) for line in text.splitlines())
    return [match[1] for match in found if match]


def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


SHELL = blocks("sh")


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.place)
def test_what_a_reader_types_exists(block: Block) -> None:
    for line in block.text.splitlines():
        program = Path(line.split()[0]).name
        if program == "ivr":
            check_command(line)
        elif program == "make":
            assert set(line.split()[1:]) <= targets()
        else:
            assert program == "sqlite3", f"{block.place}: nothing checks {program!r}: fence it as text"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_running_text_exist(page: Path) -> None:
    for span in spans(page):
        if span.startswith("ivr "):
            check_command(span)
        if span.startswith("make "):
            assert span.split()[1] in targets(), span


@pytest.mark.parametrize("block", blocks("text"), ids=lambda block: block.place)
def test_commands_in_other_blocks_exist(block: Block) -> None:
    for line in commands_in(block.text):
        check_command(line)


@pytest.mark.parametrize("line", ["ivr nothing", "ivr log nothing", "ivr log verify --nothing", "ivr --nothing"])
def test_a_command_that_does_not_exist_is_found(line: str) -> None:
    with pytest.raises(NoSuchCommand):
        check_command(line)


@pytest.mark.parametrize("block", blocks("yaml"), ids=lambda block: block.place)
def test_yaml_loads(block: Block, tmp_path: Path) -> None:
    if block.text.startswith("flows:\n"):
        (tmp_path / "flow.yaml").write_text(block.text, "utf-8")
        library = Library.load()
        assert load_flows([tmp_path / "flow.yaml"], checks=[lambda flow: prompt_mistakes(flow, library)]).flows
    else:
        (tmp_path / "server.yaml").write_text(block.text, "utf-8")
        assert Settings.load(tmp_path) != Settings()


@pytest.mark.parametrize("block", blocks("json"), ids=lambda block: block.place)
def test_json_parses(block: Block) -> None:
    json.loads(block.text)


def test_every_block_says_what_it_is() -> None:
    known = {"sh", "text", "yaml", "json", "python"}
    fences = [(page, fence) for page in PAGES for fence in re.findall(r"^```(.*)$", page.read_text("utf-8"), re.M)]
    assert {fence for _, fence in fences} <= known | {""}
    assert sum(not fence for _, fence in fences) * 2 == len(fences)


# -- the checks by hand ----------------------------------------------------------------------------------------------

EVENT, DISCLOSURES, TREE, *_ = blocks("python")


@pytest.fixture
def audited(tmp_path: Path) -> Path:
    """An auditor's folder: a copied database and the verifier key, and the two secrets that open personal fields."""
    made = initialise(tmp_path / "server", ORIGIN)
    keys = made.folder / "keys"
    data = made.folder / "data"
    secret, sealed = load_pseudonym_key(keys), PersonalSettings(data / "subjects")
    log = Log.open(data / "log.sqlite", load_ledger_key(keys), secret, personal=sealed)
    adopted = Entry("policy.adopted", None, {"flows": {}, "settings_sha256": "sha256:0"}, {"by": "somebody"})
    log.append([adopted] * 1, checkpoint=True)
    log.append([Entry("worker.joined", None, {"worker": f"worker-{n}"}) for n in range(5)], checkpoint=True)
    log.close()
    folder = tmp_path / "auditor"
    folder.mkdir()
    source, copy = (sqlite3.connect(at / "log.sqlite") for at in (data, folder))
    source.backup(copy)
    source.close()
    copy.close()
    (folder / "ledger.vkey").write_text(f"{made.vkey}\n")
    for file in (keys / "pseudonym.key", data / "subjects" / "fields.keys"):
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def run(block: Block, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", block.text], cwd=folder, capture_output=True, text=True, timeout=60)


def change(folder: Path, statement: str) -> None:
    database = sqlite3.connect(folder / "log.sqlite")
    with database:
        assert database.execute(statement).rowcount > 0
    database.close()


def test_an_event_is_checked_by_hand(audited: Path) -> None:
    done = run(EVENT, audited)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["type"] == "key.added"


def test_a_changed_event_is_found_by_hand(audited: Path) -> None:
    change(audited, "UPDATE events SET jws = (SELECT jws FROM events WHERE seq = 0) || 'A' WHERE seq = 1")
    assert "InvalidSignature" in run(EVENT, audited).stderr


def test_personal_fields_are_checked_by_hand(audited: Path) -> None:
    assert run(DISCLOSURES, audited).stdout == "2 by somebody True\n"
    change(audited, "UPDATE events SET jws = (SELECT jws FROM events WHERE seq = 0) WHERE seq = 2")
    assert "True" not in run(DISCLOSURES, audited).stdout


def test_a_changed_personal_field_is_found_by_hand(audited: Path) -> None:
    change(audited, "UPDATE disclosures SET text = text || 'AAAA'")
    assert "InvalidTag" in run(DISCLOSURES, audited).stderr


def test_an_erased_personal_field_cannot_be_read_by_hand(audited: Path) -> None:
    secrets = audited / "fields.keys"
    secrets.write_bytes(bytes(secrets.stat().st_size))
    assert run(DISCLOSURES, audited).stdout == "2 erased\n"


def test_the_tree_is_checked_by_hand(audited: Path) -> None:
    done = run(TREE, audited)
    assert (done.returncode, done.stdout) == (0, "root True\n"), done.stderr
    change(audited, "UPDATE events SET jws = jws || 'A' WHERE seq = 3")
    assert run(TREE, audited).stdout == "root False\n"


def test_a_checkpoint_of_another_key_is_found_by_hand(audited: Path, tmp_path: Path) -> None:
    other = initialise(tmp_path / "other", ORIGIN)
    (audited / "ledger.vkey").write_text(f"{other.vkey}\n")
    assert "InvalidSignature" in run(TREE, audited).stderr
