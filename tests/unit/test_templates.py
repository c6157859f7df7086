# SPDX-License-Identifier: GPL-3.0-or-later
"""Notice templates: one that leaves a fact out does not load, and says where."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from ivr.consent.policy import KEYS, Mode
from ivr.flow.library import REQUIRED_MESSAGES, Library, UnknownPrompt
from ivr.flow.place import FileError
from ivr.flow.shipped import manifest_findings, manifest_text
from ivr.flow.templates import MODE_PLACEHOLDERS, fill, load_template
from ivr.packaged import packaged

LANGUAGES = ("de", "en", "es", "fr")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    shutil.copytree(packaged("prompts") / "en", tmp_path / "en")
    return tmp_path


def changed(folder: Path, old: str, new: str) -> Path:
    file = folder / "en" / "notice.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return file


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_shipped_language_has_the_same_names(language: str) -> None:
    library = Library.load()
    english, template = library.template("en"), library.template(language)
    assert library.languages == LANGUAGES
    assert set(template.purposes) == set(english.purposes)
    assert set(template.access) == set(english.access)
    assert set(template.keys) == KEYS
    assert set(library.messages[language]) == set(library.messages["en"]) >= set(REQUIRED_MESSAGES)


CASES = [(mode, name) for mode, names in MODE_PLACEHOLDERS.items() for name in sorted(names)]


@pytest.mark.parametrize(("mode", "name"), CASES)
def test_a_placeholder_left_out_does_not_load(own: Path, mode: Mode, name: str) -> None:
    file = own / "en" / "notice.yaml"
    lines = file.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"  {mode}:"))
    at = next(i for i in range(start, len(lines)) if f"{{{name}}}" in lines[i])
    lines[at] = lines[at].replace(f"{{{name}}}", "Somebody")
    file.write_text("\n".join(lines))
    with pytest.raises(FileError) as error:
        load_template(file)
    [mistake] = error.value.mistakes
    assert f"{{{name}}} is left out" in mistake.what
    assert abs(mistake.line - (start + 1)) <= 1


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("press {refuse_key} now, or at any time during the call.", "press a key.", "{refuse_key} is left out"),
        ("press {accept_key} now. If you do not, you", "press a key. If not, you", "{accept_key} is left out"),
        ("{controller} records this", "{controler} records this", "{controler} is no placeholder"),
        ("{controller} records this", "{controller records this", "braces"),
        (
            "  never: This call will not",
            "  never: This call to {controller} will not",
            "{controller} is no placeholder",
        ),
        ('many: ["{n} days"]', "many: [days]", "{n} is left out"),
        ('"9": ["9", nine]', "", "`9` is missing"),
        ("  week: {one:", "  fortnight: {one:", "`week` is missing"),
        ("- What was recorded before that will be kept.", "- '{refuse_key}'", "{refuse_key} is no placeholder"),
        ("language: en", "language: de", "the folder is en"),
        ("quality: [quality assurance, quality]", "quality: []", "quality"),
    ],
)
def test_other_mistakes_are_told_with_file_and_line(own: Path, old: str, new: str, told: str) -> None:
    file = changed(own, old, new)
    with pytest.raises(FileError) as error:
        load_template(file)
    assert any(re.match(rf"{re.escape(str(file))}:\d+:\d+: ", str(mistake)) for mistake in error.value.mistakes)
    assert told in str(error.value)


def test_filling_is_done_once() -> None:
    assert fill("{a} and {b}", {"a": "{b}", "b": "x"}) == "{b} and x"
    with pytest.raises(KeyError):
        fill("{c}", {})


def test_own_folder_goes_over_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "messages.yaml").write_text("language: en\nmessages: {goodbye: Bye., hours: We are open.}\n")
    library = Library.load(tmp_path)
    assert library.message("goodbye", "en") == "Bye."
    assert library.message("hours", "en-GB") == "We are open."
    assert library.message("please_wait", "en") == Library.load().message("please_wait", "en")
    with pytest.raises(UnknownPrompt, match="goodbye"):
        library.message("goodby", "en")
    with pytest.raises(UnknownPrompt, match="'it'"):
        library.template("it")


def test_language_that_is_not_whole_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "it").mkdir()
    (tmp_path / "it" / "messages.yaml").write_text("language: it\nmessages: {goodbye: Arrivederci.}\n")
    with pytest.raises(FileError) as error:
        Library.load(tmp_path)
    assert "language it has no notice template" in str(error.value)
    assert "language it lacks not_recorded" in str(error.value)


def test_shipped_texts_match_their_manifest() -> None:
    assert manifest_findings(packaged("prompts")) == [], "changed a text: ivr prompts manifest prompts"


def test_changed_added_and_missing_texts_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "prompts"
    shutil.copytree(packaged("prompts"), folder)
    assert manifest_findings(folder) == []
    with (folder / "en" / "notice.yaml").open("a") as file:
        file.write("# \n")
    (folder / "de" / "messages.yaml").unlink()
    shutil.copy(folder / "fr" / "notice.yaml", folder / "fr" / "other.yaml")
    changed_, missing, added = sorted(manifest_findings(folder), key=lambda text: text.partition(": ")[2])
    assert "en/notice.yaml: changed" in changed_
    assert "de/messages.yaml: listed" in missing
    assert "fr/other.yaml: not listed" in added
    (folder / "manifest.json").write_text("[]")
    assert "no manifest" in manifest_findings(folder)[0]


def test_manifest_is_plain_sha256(tmp_path: Path) -> None:
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "notice.yaml").write_bytes(b"x")
    files = json.loads(manifest_text(tmp_path))["files"]
    assert files == {"en/notice.yaml": hashlib.sha256(b"x").hexdigest()}
