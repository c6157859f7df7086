# SPDX-License-Identifier: GPL-3.0-or-later
"""Installation as documented: what is copied exists, what is created was copied, and a booting machine has its edge."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from docs_kit import ROOT

OPERATE = ROOT / "docs" / "operate"


def commands(page: str, heading: str, nth: int | None = None) -> list[list[str]]:
    """The command lines of a section, or of its nth block."""
    section = (OPERATE / page).read_text("utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^ *```text\n(.*?)^ *```$", section, re.MULTILINE | re.DOTALL)
    chosen = blocks if nth is None else [blocks[nth]]
    return [shlex.split(line) for block in chosen for line in block.splitlines()]


WAYS = [("edge.md", "Install", 1), ("edge.md", "Install", 2), ("scaling.md", "Make a node", None)]


def boot(tmp_path: Path, lines: list[list[str]]) -> Path:
    """A machine's folder for units after the documented `cp` and `systemctl`; nothing is started."""
    shipped = tmp_path / "usr/lib/systemd/system"
    shipped.mkdir(parents=True)
    (shipped / "multi-user.target").write_text("[Unit]\nDescription=boot\n")
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    for words in lines:
        if words[0] == "cp" and words[-1] == "/etc/systemd/system/":
            for pattern in words[1:-1]:
                found = list(ROOT.glob(pattern))
                assert found, pattern
                for unit in found:
                    (units / unit.name).write_bytes(unit.read_bytes())
        if words[0] == "systemctl" and words[1] in ("enable", "add-wants"):
            done = ["systemctl", f"--root={tmp_path}", *(word for word in words[1:] if word != "--now")]
            subprocess.run(done, check=True, capture_output=True, timeout=60)
    return units


def starts(units: Path, unit: str, at: str = "multi-user.target") -> bool:
    """Whether a machine that reaches `at` starts this, as links of the folder say."""
    linked = sorted(path.name for path in (units / f"{at}.wants").glob("*"))
    return unit in linked or any(starts(units, unit, name) for name in linked if name.endswith(".target"))


@pytest.mark.parametrize(("page", "heading", "nth"), WAYS)
def test_what_is_created_and_copied_is_there(page: str, heading: str, nth: int | None) -> None:
    lines = commands(page, heading, nth)
    copied = [(words[1], words[-1]) for words in lines if words[0] == "cp" and "*" not in words[1]]
    for source, _ in copied:
        assert (ROOT / source).is_file(), source
    created = next(words[2:] for words in lines if words[:2] == ["systemd-tmpfiles", "--create"])
    assert {f"/usr/lib/tmpfiles.d/{name}" for name in created} == {to for _, to in copied if "tmpfiles.d" in to}
    order = [words[0] for words in lines]
    assert order.index("systemd-sysusers") < order.index("systemd-tmpfiles")
    assert max(n for n, words in enumerate(lines) if words[:3] == ["ivr", "edge", "check"]) < min(
        n for n, words in enumerate(lines) if words[0] == "systemctl" and words[1] in ("start", "enable", "add-wants")
    )


def test_a_node_that_boots_starts_its_edge(tmp_path: Path) -> None:
    assert starts(boot(tmp_path, commands("scaling.md", "Make a node")), "ivr-edge.service")


def test_a_front_edge_that_boots_starts_alone(tmp_path: Path) -> None:
    units = boot(tmp_path, commands("edge.md", "Install", 2))
    assert starts(units, "ivr-edge.service")
    assert not starts(units, "ivr.target")


def test_debians_own_proxy_is_out_of_the_way_first() -> None:
    for page, heading, nth in (("edge.md", "Install", 0), ("scaling.md", "Make a node", None)):
        assert ["systemctl", "disable", "--now", "kamailio.service"] in commands(page, heading, nth)
