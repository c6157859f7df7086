# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that were lost: what the errors advise works, and nothing is made anew in silence where something was."""

import shutil
from pathlib import Path

import pytest

from ivr.ledger.errors import LedgerMissing
from ivr.ledger.sealed import SubjectSecrets
from rights_kit import NUMBER, Server, make_server


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return make_server(tmp_path)


def test_people_are_added_where_the_file_is_gone_as_the_error_says(server: Server) -> None:
    server.settings.keys.people.unlink()
    shown = server.ivr("access", "list")
    assert shown.exit_code == 2
    assert "ivr access add" in shown.output
    assert server.ivr("access", "remove", "anna").exit_code == 2
    added = server.ivr("access", "add", "anna", "--role", "officer", "--identity", str(server.officer))
    assert added.exit_code == 0, added.output
    assert server.settings.keys.people.stat().st_mode & 0o777 == 0o644
    listed = server.ivr("access", "list")
    assert listed.exit_code == 0
    assert "anna" in listed.output
    call = server.call()
    with server.serving():
        assert server.by_officer("erase", "--call", call.id).exit_code == 0


@pytest.mark.parametrize("lost", [["fields.keys"], ["subjects.keys"], ["fields.keys", "subjects.keys"], ["."]])
def test_a_key_store_that_was_lost_is_not_made_again(server: Server, tmp_path: Path, lost: list[str]) -> None:
    server.call()
    subjects = server.settings.storage.subjects
    backup = tmp_path / "backup"
    shutil.copytree(subjects, backup)
    for name in lost:
        shutil.rmtree(subjects) if name == "." else (subjects / name).unlink()
    with pytest.raises(LedgerMissing, match=rf"lost: .*{'fields' if lost == ['.'] else lost[0]}.*backup") as error:
        server.open_log()
    assert len(lost) == str(error.value).count("without it") or lost == ["."]
    assert not any((subjects / name).exists() for name in lost)
    shutil.copytree(backup, subjects, dirs_exist_ok=True)
    server.open_log().close()
    assert server.events("call.received")[0].personal["caller"].endswith(f"{NUMBER}@example.org")  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["fields.keys", "subjects.keys"])
def test_a_first_start_that_was_cut_short_between_the_two_files_is_finished(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch(0o600)
    with pytest.raises(LedgerMissing, match="lost"):
        SubjectSecrets(tmp_path, b"k" * 32, used=True)
    SubjectSecrets(tmp_path, b"k" * 32).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fields.keys", "subjects.keys"]
    for path in tmp_path.iterdir():
        path.write_bytes(b"1") if path.name == name else path.unlink()
    with pytest.raises(LedgerMissing, match="lost"):
        SubjectSecrets(tmp_path, b"k" * 32)


def test_a_loss_that_was_accepted(server: Server) -> None:
    server.call()
    file = server.settings.storage.subjects / "fields.keys"
    file.unlink()
    file.touch(0o600)
    later = server.call()
    first, second = server.events("call.received")
    assert first.personal == {}
    assert second.call == later.id
    assert second.personal["dialled"] == "100"
    assert server.findings() == []
