# SPDX-License-Identifier: GPL-3.0-or-later
"""The disk fills up or breaks under a recording: a typed error, told once, nothing half-done, the rest opens."""

import errno
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ivr.vault.errors import VaultError, VaultFull, VaultUnwritable
from ivr.vault.open import OpenRecording
from ivr.vault.sealing import load_identities
from ivr.vault.writer import RecordingSummary, RecordingWriter
from vault_kit import RATE, Vault, feed, noise, permit, vault

SECONDS = 60


@pytest.fixture
def box(tmp_path: Path) -> Vault:
    return vault(tmp_path / "vault")


def record_until_it_fails(box: Vault) -> tuple[RecordingSummary, list[VaultError]]:
    told: list[VaultError] = []
    writer = RecordingWriter(permit(), box.store, RATE, on_error=told.append)
    caller, agent = noise(SECONDS * RATE, 1), noise(SECONDS * RATE, 2)
    with pytest.raises(VaultError):
        feed(writer, caller, agent)
    return writer.finish("failed").result(20), told


def judge(box: Vault, summary: RecordingSummary, told: list[VaultError]) -> None:
    """The omnibus check: what is said to be kept is what is there, and it opens; nothing else is there."""
    assert told == [summary.error]
    assert list(summary.segments) == box.store.inventory(summary.call, summary.recording)
    assert box.store.strays() == []
    audio = OpenRecording(box.store, summary.call, summary.recording, load_identities(box.officer)).audio()
    expected = np.stack([noise(SECONDS * RATE, 1), noise(SECONDS * RATE, 2)], axis=1)
    assert (audio == expected[: len(audio)]).all()
    assert len(audio) == summary.samples == sum(span.samples for span in summary.spans)


class SmallDisk:
    """512 KiB, about seven seconds of noise: a real file system where this may mount, else writes are counted."""

    SIZE = 512 * 1024

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={self.SIZE},mode=0700", "tmpfs"]
        self.mounted = subprocess.run(["mount", *options, folder], capture_output=True, timeout=20).returncode == 0
        self._left = self.SIZE
        if not self.mounted:
            self._real = os.write
            monkeypatch.setattr(os, "write", self._write)

    def _write(self, handle: int, data: bytes) -> int:
        if str(self.folder) in _path_of(handle):
            self._left -= len(data)
            if self._left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._real(handle, data)

    def fill(self) -> None:
        """Leave no room at all."""
        if self.mounted:
            info = os.statvfs(self.folder)
            (self.folder / "filler").write_bytes(bytes(info.f_bavail * info.f_frsize))
        self._left = 0

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", self.folder], check=True, timeout=20)


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path / "disk", monkeypatch)
    yield disk
    disk.close()


def test_a_full_disk(small_disk: SmallDisk) -> None:
    box = vault(small_disk.folder / "vault")
    summary, told = record_until_it_fails(box)
    assert isinstance(summary.error, VaultFull)
    assert summary.samples > 2 * RATE
    judge(box, summary, told)
    # Full is full for the next one too, and it must fail as cleanly.
    small_disk.fill()
    second = RecordingWriter(permit(), box.store, RATE)
    with pytest.raises(VaultFull):
        second.opened.result(20)
    assert second.finish("failed").result(20).samples == 0
    assert box.store.strays() == []
    # Erasing must work on a full disk: a right does not wait for room.
    assert box.store.erase(summary.call, summary.recording).key_destroyed
    assert list(box.store.ids()) == []


def test_a_file_size_limit(box: Vault) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500, hard))  # a key fits in, a segment does not
    try:
        summary, told = record_until_it_fails(box)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert isinstance(summary.error, VaultFull)
    assert summary.segments == ()
    judge(box, summary, told)


@pytest.mark.parametrize("call", ["fsync", "rename", "open", "write"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_each_system_call_may_fail_at_any_time(
    box: Vault, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    real, calls = getattr(os, call), list[int]()

    def failing(*args: object, **kwargs: object) -> object:
        if str(box.store.recordings) in _path_of(args[0]):
            calls.append(1)
            if len(calls) == 5:
                raise OSError(code, os.strerror(code))
        return real(*args, **kwargs)

    monkeypatch.setattr(os, call, failing)
    summary, told = record_until_it_fails(box)
    monkeypatch.undo()
    assert isinstance(summary.error, VaultFull if code == errno.ENOSPC else VaultUnwritable)
    judge(box, summary, told)


def _path_of(argument: object) -> str:
    return os.readlink(f"/proc/self/fd/{argument}") if isinstance(argument, int) else str(argument)


def test_a_folder_that_vanishes(box: Vault) -> None:
    told: list[VaultError] = []
    writer = RecordingWriter(permit(), box.store, RATE, on_error=told.append)
    writer.opened.result(20)
    box.store.folder(writer.call, writer.recording).rmdir()
    writer.write(noise(10), noise(10))
    summary = writer.finish("hangup").result(20)
    assert isinstance(summary.error, VaultUnwritable)
    assert told == [summary.error]
    assert (summary.samples, summary.spans) == (0, ())
