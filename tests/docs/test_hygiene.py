# SPDX-License-Identifier: GPL-3.0-or-later
"""No file of the project names a path of the machine it was written on, or the host of a package registry."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from docs_kit import ROOT

# Put together here, so that this file does not name what it looks for.
_REGISTRIES = (("py", "pi."), ("python", "hosted."), ("npm", "js."), ("crates", ".io"), ("proxy.go", "lang"))
_SKIPPED = {"LICENSE"}
_FOLDERS = {"ivr", "media", "prompts", "config", "systemd", "tests", "bench", "demo", "docs", "typings", ".ci"}


def project_files() -> Iterator[Path]:
    """Every text file of the project, not what its tools make."""
    tops = [path for path in ROOT.iterdir() if path.name in _FOLDERS or path.is_file()]
    for top in tops:
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.is_file() and path.name not in _SKIPPED and "__pycache__" not in path.parts:
                yield path


def forbidden() -> re.Pattern[str]:
    """Homes, this checkout, and registries: those that everybody knows and the one that is configured here."""
    places = {str(ROOT), str(Path.home())} - {"/"}
    hosts = {re.escape("".join(parts)) for parts in _REGISTRIES}
    index = urlsplit(os.environ.get("PIP_INDEX_URL", "")).hostname
    if index and "." in index:
        hosts.add(re.escape(index))
    paths = "|".join(rf"(?<![\w.~-]){re.escape(place)}(?=/\w)" for place in sorted(places))
    return re.compile(rf"{paths}|/(?:home|Users)/[a-z]\w*/|{'|'.join(sorted(hosts))}")


def test_no_file_names_this_machine_or_a_registry() -> None:
    pattern = forbidden()
    found = []
    for path in project_files():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in pattern.finditer(text)]
    assert not found


@pytest.mark.parametrize(
    "text",
    [f"{ROOT}/ivr", "/" + "home/someone/x", "https://py" + "pi.org/simple", "https://files.python" + "hosted.org"],
)
def test_what_must_not_be_named_is_found(text: str) -> None:
    assert forbidden().search(text)


def test_the_project_is_looked_at_as_a_whole() -> None:
    names = {str(path.relative_to(ROOT)) for path in project_files()}
    assert {"README.md", "pyproject.toml", "Makefile", "ivr/cli/__init__.py", "tests/docs/test_hygiene.py"} <= names
