# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr init`: all there, secrets private, nothing overwritten, nothing half-made."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from ivr.cli import main
from ivr.ledger.keys import load_ledger_key, load_pseudonym_key, load_vkey
from ivr.ledger.log import Log
from ivr.node import initialise as module
from ivr.node.initialise import InitError, initialise
from ivr.node.load import load
from ivr.vault.sealing import load_identities, load_recipients

SECRETS = ("ledger.key", "pseudonym.key", "officer.age")


def modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mode & 0o777 for path in folder.rglob("*")}


def test_everything_that_serve_needs_is_there(tmp_path: Path) -> None:
    made = initialise(tmp_path / "server", "example.org/log")
    loaded = load(made.folder)
    settings = loaded.settings
    assert {flow.name for flow in loaded.flows.flows} == {"support", "survey", "hotline", "information"}
    log = Log.open(
        settings.storage.database,
        load_ledger_key(settings.keys.ledger.parent),
        load_pseudonym_key(made.folder / "keys"),
    )
    assert (log.origin, log.size, log.unsealed) == ("example.org/log", 2, 0)
    log.close()
    for folder in (settings.storage.recordings, settings.storage.keystore, settings.prompts.cache):
        assert folder.is_dir()
    assert settings.ledger.socket.parent.is_dir()
    assert str(load_vkey(made.folder / "keys")) == made.vkey


def test_the_recipient_is_the_officer(tmp_path: Path) -> None:
    made = initialise(tmp_path / "server", "example.org/log")
    (identity,) = load_identities(made.officer)
    assert [str(one) for one in load_recipients(made.folder / "keys/recipients.txt").parsed()] == [made.recipient]
    assert str(identity.to_public()) == made.recipient


def test_secrets_and_folders_are_private_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        made = initialise(tmp_path / "server", "example.org/log")
    finally:
        os.umask(old)
    found = modes(made.folder)
    assert made.folder.stat().st_mode & 0o777 == 0o750
    for name in SECRETS:
        assert found[f"keys/{name}"] == 0o600
    for name in ("keys", "data", "data/recordings", "data/keystore", "run"):
        assert found[name] == 0o700


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "mine.txt").write_text("mine")
    with pytest.raises(InitError, match="nothing was changed"):
        initialise(tmp_path / "server", "example.org/log")
    assert os.listdir(tmp_path) == ["server"]
    assert os.listdir(tmp_path / "server") == ["mine.txt"]


def test_twice_is_refused_and_changes_no_key(tmp_path: Path) -> None:
    made = initialise(tmp_path / "server", "example.org/log")
    before = (made.folder / "keys/ledger.key").read_bytes()
    with pytest.raises(InitError):
        initialise(tmp_path / "server", "example.org/log")
    assert (made.folder / "keys/ledger.key").read_bytes() == before


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    assert initialise(tmp_path / "server", "example.org/log").folder == tmp_path / "server"


def test_what_breaks_on_the_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(module, "_create_log", broken)
    with pytest.raises(OSError, match="no space"):
        initialise(tmp_path / "server", "example.org/log")
    assert os.listdir(tmp_path) == []


def test_the_command_prints_the_verifier_key_and_nothing_else_on_stdout(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "server"
    done = CliRunner().invoke(main, ["init", str(folder), "--origin", "example.org/log"])
    assert done.exit_code == 0
    assert done.stdout == f"{load_vkey(folder / 'keys')}\n"
    assert "move it to another machine" in done.stderr
    again = CliRunner().invoke(main, ["init", str(folder)])
    assert (again.exit_code, again.stdout) == (2, "")
    assert "is not empty" in again.stderr


@pytest.mark.parametrize("origin", ["", "has space", "a+b"])
def test_a_name_that_no_log_can_have_is_refused_before_anything_is_made(origin: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["init", str(tmp_path / "server"), "--origin", origin])
    assert done.exit_code == 2
    assert done.stderr.startswith("ivr init: ")
    assert os.listdir(tmp_path) == []


def test_what_a_killed_init_left_is_removed_and_that_of_a_running_one_is_not(tmp_path: Path) -> None:
    dead, alive = tmp_path / ".server.init-4194304", tmp_path / f".server.init-{os.getppid()}"
    for folder in (dead, alive):
        (folder / "keys").mkdir(parents=True)
        (folder / "keys" / "ledger.key").write_text("secret")
    initialise(tmp_path / "server", "test.example/log")
    assert not dead.exists()
    assert alive.exists()
