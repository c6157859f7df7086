# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiling the media clock's loop at installation; and going on without a compiler."""

import importlib.util
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def build(root: Path) -> tuple[dict[str, Any], list[str]]:
    """What the hook leaves in `build_data`, and what it warned of."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    warned: list[str] = []

    class Hook(module.MediaClockHook):  # type: ignore[misc]
        app = SimpleNamespace(display_warning=warned.append)

    data: dict[str, Any] = {"artifacts": [], "pure_python": True}
    Hook(str(root), {}, None, None, str(root), "wheel").initialize("standard", data)
    return data, warned


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "ivr/sip").mkdir(parents=True)
    shutil.copy(ROOT / "ivr/sip/mediaclock.c", tmp_path / "ivr/sip")
    return tmp_path


def test_the_loop_is_compiled_into_the_wheel(root: Path) -> None:
    data, warned = build(root)
    (made,) = data["artifacts"]
    assert (root / made).read_bytes()[:4] == b"\x7fELF"
    assert data["pure_python"] is False
    assert data["tag"].startswith("py3-none-linux")
    assert warned == []


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_without_a_compiler_it_warns_and_leaves_no_old_library(
    root: Path, compiler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (made,) = build(root)[0]["artifacts"]
    monkeypatch.setenv("CC", compiler)
    data, warned = build(root)
    assert data == {"artifacts": [], "pure_python": True}
    assert "mediaclock.c was not compiled" in warned[0]
    assert sorted(path.name for path in (root / made).parent.iterdir()) == ["mediaclock.c"]
