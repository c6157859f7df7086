# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets in the environment of `ivr serve`: with those that need them, and in none that meets strangers."""

import os
from pathlib import Path

import pytest

from demo.server import Server
from ivr.node.environment import environment_of, forget_secrets

SECRETS = {"AWS_SECRET_ACCESS_KEY": "stores-secret-5d1c", "PGPASSWORD": "databases-secret-77e0"}
FLOW = {"hello": {"numbers": ["default"], "language": "en", "sections": {"main": [{"play": "Hello."}, {"hangup": {}}]}}}


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def known_to(pid: int) -> set[str]:
    """Which of the secrets are in its environment, or anywhere in its heap or on its stack: titles of processes are
    written over the environment that /proc shows."""
    memory = Path(f"/proc/{pid}/environ").read_bytes()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as mem:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            if line.endswith(("[stack]", "[heap]")):
                first, last = (int(place, 16) for place in line.split()[0].split("-"))
                mem.seek(first)
                while first < last and (part := mem.read(last - first)):
                    memory += part
                    first += len(part)
    return {name for name, value in SECRETS.items() if value.encode() in memory}


@pytest.mark.usefixtures("secrets")
def test_each_process_gets_what_it_needs() -> None:
    assert {name: SECRETS.keys() & environment_of(name).keys() for name in ("archive", "ledger", "pool", "edge")} == {
        "archive": {"AWS_SECRET_ACCESS_KEY"},
        "ledger": {"PGPASSWORD"},
        "pool": {"PGPASSWORD"},
        "edge": set(),
    }
    assert environment_of("edge")["PATH"] == os.environ["PATH"]
    forget_secrets()
    assert not SECRETS.keys() & os.environ.keys()
    assert "PATH" in os.environ


@pytest.mark.usefixtures("secrets")
def test_no_worker_knows_a_secret_of_the_environment(tmp_path: Path) -> None:
    with Server(tmp_path / "server") as server:
        server.create(FLOW)
        server.start()
        assert known_to(server.pid) == SECRETS.keys()
        assert known_to(server.part("ledger")) == {"PGPASSWORD"}
        assert known_to(server.part("nursery")) == set()
        assert known_to(server.part("worker")) == set()
