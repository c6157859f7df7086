# SPDX-License-Identifier: GPL-3.0-or-later
"""A file is whole and durable, or not there."""

import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ivr.vault import durable
from ivr.vault.errors import VaultError, VaultExists, VaultFull, VaultUnwritable


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_file_is_whole_and_private(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        durable.write_durably(tmp_path / "a", b"x" * 100_000)
        durable.make_folder(tmp_path / "d")
    finally:
        os.umask(old)
    assert (tmp_path / "a").read_bytes() == b"x" * 100_000
    assert (tmp_path / "a").stat().st_mode & 0o7777 == 0o600
    assert (tmp_path / "d").stat().st_mode & 0o7777 == 0o700


def test_data_is_synced_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def record(name: str, kind: Callable[..., str]) -> None:
        real = getattr(os, name)

        def recorded(*args: Any, **kwargs: Any) -> Any:
            order.append(kind(*args))
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, recorded)

    record("fsync", lambda fd: "sync " + ("folder" if os.path.isdir(f"/proc/self/fd/{fd}") else "file"))
    record("rename", lambda *_: "rename")
    record("write", lambda *_: "write")
    record("mkdir", lambda *_: "mkdir")
    record("unlink", lambda *_: "unlink")
    durable.write_durably(tmp_path / "a", b"x")
    durable.make_folder(tmp_path / "d")
    durable.remove_durably(tmp_path / "a")
    assert order == ["write", "sync file", "rename", "sync folder", "mkdir", "sync folder", "unlink", "sync folder"]


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("a", "link"):
        with pytest.raises(VaultExists):
            durable.write_durably(tmp_path / name, b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    durable.write_durably(tmp_path / "a", b"new", replace=True)
    assert (tmp_path / "a").read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["a", "link"]


def test_no_room_leaves_nothing_half_done(tmp_path: Path) -> None:
    with file_size_limit(10_000), pytest.raises(VaultFull) as caught:
        durable.write_durably(tmp_path / "a", b"x" * 20_000)
    assert os.listdir(tmp_path) == []
    assert str(tmp_path / "a") in str(caught.value)


@pytest.mark.parametrize("failing", ["file", "folder"])
def test_a_failing_sync_leaves_nothing_half_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    real = os.fsync

    def fsync(handle: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{handle}") == (failing == "folder"):
            raise OSError(errno.EIO, "Input/output error")
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(VaultUnwritable):
        durable.write_durably(tmp_path / "a", b"x")
    assert os.listdir(tmp_path) == []


def test_a_source_that_fails_leaves_nothing_half_done(tmp_path: Path) -> None:
    def parts() -> Iterator[bytes]:
        yield b"first"
        raise VaultError("broken off")

    with pytest.raises(VaultError, match="broken off"):
        durable.write_durably(tmp_path / "a", parts())
    assert os.listdir(tmp_path) == []


def test_a_temporary_file_is_known_by_its_name(tmp_path: Path) -> None:
    seen: list[str] = []

    def parts() -> Iterator[bytes]:
        seen.extend(os.listdir(tmp_path))
        yield b"x"

    durable.write_durably(tmp_path / "a.flac.age", parts())
    assert len(seen) == 1
    assert durable.is_leftover(seen[0])
    assert not durable.is_leftover("a.flac.age")


def test_folders_are_made_once_when_asked(tmp_path: Path) -> None:
    durable.make_folder(tmp_path / "d")
    durable.make_folder(tmp_path / "d")
    with pytest.raises(VaultExists):
        durable.make_folder(tmp_path / "d", exclusive=True)
    with pytest.raises(VaultUnwritable):
        durable.make_folder(tmp_path / "no" / "parent")


def test_overwriting_reaches_the_old_blocks(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"secret" * 100)
    with path.open("rb") as kept_open:
        assert durable.overwrite_and_remove(path)
        assert kept_open.read() == bytes(600)
    assert not path.exists()
    assert not durable.overwrite_and_remove(path)
    assert not durable.remove_durably(path)


def test_an_empty_folder_that_somebody_else_removes_first_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two recordings of one call are erased by two threads; both find the call's folder empty."""
    (tmp_path / "call").mkdir()
    real = os.rmdir

    def second(path: Path) -> None:
        real(path)
        real(path)

    monkeypatch.setattr(os, "rmdir", second)
    durable.remove_if_empty(tmp_path / "call")
    assert not (tmp_path / "call").exists()


def test_a_folder_that_holds_something_stays(tmp_path: Path) -> None:
    (tmp_path / "call" / "other").mkdir(parents=True)
    durable.remove_if_empty(tmp_path / "call")
    assert (tmp_path / "call" / "other").is_dir()


def test_a_group_has_the_access_to_files_that_it_has_to_their_folder(tmp_path: Path) -> None:
    """The ledger, another user of the worker's group, lists what a worker left."""
    shared, own = tmp_path / "shared", tmp_path / "own"
    for folder, mode in ((shared, 0o770), (own, 0o700)):
        folder.mkdir()
        folder.chmod(mode)
        durable.make_folder(folder / "call")
        durable.write_durably(folder / "call" / "segment", b"sealed", group_as_folder=True)
        durable.write_durably(folder / "call" / "export", b"plain")
    assert (shared / "call").stat().st_mode & 0o7777 == 0o770
    assert (shared / "call" / "segment").stat().st_mode & 0o7777 == 0o660
    assert (own / "call").stat().st_mode & 0o7777 == 0o700
    assert (own / "call" / "segment").stat().st_mode & 0o7777 == 0o600
    assert (shared / "call" / "export").stat().st_mode & 0o7777 == 0o600
