# SPDX-License-Identifier: GPL-3.0-or-later
"""Links between the documents lead somewhere, and so do the files and folders that they name."""

import re
from pathlib import Path

import pytest

from docs_kit import PAGES, ROOT, anchors, prose

_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    found = []
    for target in _LINK.findall(prose(page)):
        if target.startswith(("https://", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        if not path.exists() or not path.is_relative_to(ROOT) or (anchor and anchor not in anchors(path)):
            found.append(target)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    assert not broken(page)


@pytest.mark.parametrize("target", ["no-such-file.md", "page.md#no-such-heading", "../../../etc/passwd", "#nowhere"])
def test_a_broken_link_is_found(tmp_path: Path, target: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# A heading\n\n[text]({target})\n")
    assert broken(page) == [target]


def test_every_page_is_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    ways = [ROOT / "README.md"]
    while ways:
        page = ways.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        files = (target.partition("#")[0] for target in _LINK.findall(prose(page)))
        ways += [(page.parent / file).resolve() for file in files if file and "://" not in file]
    assert seen >= set(PAGES)
