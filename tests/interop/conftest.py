# SPDX-License-Identifier: GPL-3.0-or-later
"""A log that others check, and the checker in Go, built once."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ivr.audit.export import export
from ivr.audit.source import LogSource
from ledger_kit import Home, joined, make_home, recorded_call

GO = Path(__file__).parent / "go" / "check.go"
Checker = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def go_check(tmp_path_factory: pytest.TempPathFactory) -> Checker:
    """Runs the checker, which is made of golang.org/x/mod/sumdb alone (Debian: golang-golang-x-mod-dev)."""
    folder = tmp_path_factory.mktemp("go")
    binary = folder / "check"
    environment = os.environ | {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(folder / "cache")}
    subprocess.run(["go", "build", "-o", binary, GO], env=environment, check=True, timeout=110)

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True, timeout=60)

    return run


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A log of 708 events: two full tiles, a partial one, and a tile above them."""
    made = make_home(tmp_path_factory.mktemp("log"))
    recorded_call(made)
    for _ in range(7):
        made.append([joined(at_ms=n) for n in range(100)])
    return made


@pytest.fixture(scope="session")
def tiles(home: Home) -> Path:
    folder = home.path / "tiles"
    with LogSource(home.db) as source:
        export(source, [home.vkey], folder)
    return folder
