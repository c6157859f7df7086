# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr serve`, `ivr ledger` and `ivr worker` on a folder that is not as it must be: what, where, what to do, exit 2."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ivr.audit.source import LogSource
from ivr.cli import COMMANDS, main
from ivr.cli.exits import MEANING, Exit
from ivr.flow.prompts import Failure, RenderReport
from ivr.ledger.event import peek
from ivr.node import worker
from ivr.node.initialise import initialise
from ivr.node.load import Loaded


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return initialise(tmp_path_factory.mktemp("fresh") / "server", "example.org/log").folder


@pytest.fixture
def server(fresh: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fresh, tmp_path / "server"))


def ivr(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def remove(name: str) -> Callable[[Path], None]:
    return lambda server: (server / name).unlink()


def write(name: str, text: str) -> Callable[[Path], None]:
    def spoil(server: Path) -> None:
        (server / name).write_text(text)

    return spoil


def open_to_all(server: Path) -> None:
    (server / "keys/ledger.key").chmod(0o644)


@pytest.mark.parametrize(
    ("command", "spoil", "says"),
    [
        ("serve", remove("server.yaml"), "ivr init"),
        ("serve", remove("keys/ledger.vkey"), "ivr init"),
        ("serve", remove("data/log.sqlite"), "ivr init"),
        ("serve", write("server.yaml", "sip: {prot: 1}\n"), "server.yaml:1:"),
        ("serve", write("flows/support.yaml", "flows: {x: {}}\n"), "support.yaml:1:"),
        ("ledger", remove("server.yaml"), "ivr init"),
        ("ledger", remove("keys/ledger.key"), "ivr init"),
        ("ledger", remove("keys/pseudonym.key"), "ivr init"),
        ("ledger", remove("data/log.sqlite"), "ivr init"),
        ("ledger", open_to_all, "chmod 600"),
        ("worker", remove("server.yaml"), "ivr init"),
        ("worker", lambda _: None, "no ledger at"),
        ("worker", write("flows/support.yaml", "flows: {x: {}}\n"), "support.yaml:1:"),
    ],
)
def test_a_server_that_is_not_whole_is_not_started(
    command: str, spoil: Callable[[Path], None], says: str, server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "LEDGER_WAIT_S", 0.1)
    spoil(server)
    before = sorted(path.name for path in server.rglob("*"))
    done = ivr(command, "--config", server)
    assert (done.exit_code, done.stdout) == (Exit.COULD_NOT_RUN, "")
    assert done.stderr.startswith(f"ivr {command}: ")
    assert says in done.stderr
    # Nothing is ever made again silently.
    assert sorted(path.name for path in server.rglob("*") if not path.name.startswith("log.sqlite.")) == [
        name for name in before if not name.startswith("log.sqlite.")
    ]


def test_a_prompt_that_cannot_be_made_keeps_the_server_from_starting(
    server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(loaded: Loaded) -> RenderReport:
        spec = loaded.prompts.message("goodbye", "en")
        return RenderReport((), (Failure(spec, 8_000, "no such voice"),))

    monkeypatch.setattr(Loaded, "render", failing)
    done = ivr("serve", "--config", server)
    assert done.exit_code == Exit.COULD_NOT_RUN
    assert "a prompt could not be made" in done.stderr


def test_a_group_that_is_not_there_is_named(server: Path) -> None:
    done = ivr("ledger", "--config", server, "--group", "no-such-group")
    assert done.exit_code == Exit.COULD_NOT_RUN
    assert "no group 'no-such-group'" in done.stderr


def test_a_ledger_runs_until_sigterm_and_closes_its_log(server: Path) -> None:
    notify = server / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(30)
        sock.bind(str(notify))
        process = subprocess.Popen(
            [sys.executable, "-m", "ivr", "ledger", "--config", str(server)],
            env={**os.environ, "NOTIFY_SOCKET": str(notify)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while sock.recv(100) != b"READY=1":
            pass
        assert (server / "run/ledger.sock").is_socket()
        # A second one would sign the same places twice.
        second = ivr("ledger", "--config", server)
        assert second.exit_code == Exit.COULD_NOT_RUN
        assert (server / "run/ledger.sock").is_socket()
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "")
    assert not (server / "run/ledger.sock").exists()
    with LogSource(server / "data/log.sqlite") as source:
        kinds = [peek(row.jws).type for row in source.rows()]
        assert max(row.size for row in source.checkpoints()) == len(kinds)
    assert kinds == ["log.created", "key.added", "node.started", "node.stopped"]


def test_every_command_can_be_asked_for_help() -> None:
    listed = ivr("--help").stdout
    for name in COMMANDS:
        assert f"  {name} " in listed
        done = ivr(name, "--help")
        assert done.exit_code == 0
        assert done.stdout.startswith(f"Usage: main {name}")


def test_an_unknown_command_is_wrong_usage() -> None:
    assert ivr("sreve").exit_code == Exit.COULD_NOT_RUN


def test_every_exit_code_has_a_meaning() -> None:
    assert set(MEANING) == set(Exit)
