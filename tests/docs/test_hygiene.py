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
# Below these the documents put their examples: a checkout there is named by them and not by mistake. () is the root.
_EXAMPLES = ((), ("data",), ("mnt",), ("opt",), ("srv",), ("var",))
_FOLDERS = {"ivr", "media", "prompts", "config", "systemd", "tests", "bench", "demo", "docs", "typings", ".ci"}


def project_files() -> Iterator[Path]:
    """Every text file of the project, not what its tools make."""
    tops = [path for path in ROOT.iterdir() if path.name in _FOLDERS or path.is_file()]
    for top in tops:
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.is_file() and path.name not in _SKIPPED and "__pycache__" not in path.parts:
                yield path


def forbidden(root: Path = ROOT, home: Path | None = None) -> re.Pattern[str]:
    """Homes, this checkout, and registries: those that everybody knows and the one that is configured here."""
    places = {str(path) for path in (root, home or Path.home()) if path.parts[1:2] not in _EXAMPLES}
    hosts = {re.escape("".join(parts)) for parts in _REGISTRIES}
    index = urlsplit(os.environ.get("PIP_INDEX_URL", "")).hostname
    if index and "." in index:
        hosts.add(re.escape(index))
    paths = [rf"(?<![\w.~-]){re.escape(place)}(?=/\w)" for place in sorted(places)]
    return re.compile("|".join([*paths, r"/(?:home|Users)/[a-z]\w*/", *sorted(hosts)]))


def test_no_file_names_this_machine_or_a_registry() -> None:
    assert not findings(forbidden())


@pytest.mark.parametrize("place", ["/opt/assent", "/data", "/mnt", "/", "/var/lib/ivr", "/srv/assent"])
def test_nor_does_one_that_was_cloned_or_has_its_home_where_examples_are(place: str) -> None:
    assert not findings(forbidden(Path(place), Path(place)))


def findings(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in project_files():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in pattern.finditer(text)]
    return found


@pytest.mark.parametrize(
    "text",
    [
        "/work" + "shop/main/ivr",
        "/" + "home/someone/x",
        "https://py" + "pi.org/simple",
        "https://files.python" + "hosted.org",
    ],
)
def test_what_must_not_be_named_is_found(text: str) -> None:
    assert forbidden(Path("/work" + "shop/main")).search(text)


def test_the_project_is_looked_at_as_a_whole() -> None:
    names = {str(path.relative_to(ROOT)) for path in project_files()}
    assert {"README.md", "pyproject.toml", "Makefile", "ivr/cli/__init__.py", "tests/docs/test_hygiene.py"} <= names
