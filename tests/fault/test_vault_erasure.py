# SPDX-License-Identifier: GPL-3.0-or-later
"""Erasure is real: neither the store nor a backup of the recordings gives the audio back to the officer."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ivr.ledger.ids import uuid7
from ivr.vault.errors import CannotOpen, NotFound
from ivr.vault.open import OpenRecording
from ivr.vault.sealing import load_identities
from ivr.vault.store import RecordingStore
from ivr.vault.writer import RecordingSummary, RecordingWriter
from vault_kit import RATE, Vault, feed, noise, permit, plain_audio_in, vault


@pytest.fixture
def box(tmp_path: Path) -> Vault:
    return vault(tmp_path / "vault")


def opens(store: RecordingStore, kept: RecordingSummary, officer: Path) -> int:
    return len(OpenRecording(store, kept.call, kept.recording, load_identities(officer)).audio())


def finished(box: Vault) -> RecordingSummary:
    writer = RecordingWriter(permit(), box.store, RATE)
    feed(writer, noise(4 * RATE, 1), noise(4 * RATE, 2))
    return writer.finish("hangup").result(20)


def test_a_backup_of_the_recordings_is_noise_after_erasing(box: Vault, tmp_path: Path) -> None:
    kept = finished(box)
    backup = tmp_path / "backup"
    shutil.copytree(box.store.recordings, backup)
    assert opens(RecordingStore(backup, box.store.keystore, None), kept, box.officer) == 4 * RATE
    assert box.store.erase(kept.call, kept.recording).key_destroyed
    restored = RecordingStore(backup, box.store.keystore, None)
    assert len(restored.inventory(kept.call, kept.recording)) == len(kept.segments)
    with pytest.raises(CannotOpen, match="erased"):
        opens(restored, kept, box.officer)
    # Not by going round the program either: the officer's identity is no recipient of the segments.
    for path in backup.rglob("*.age"):
        done = subprocess.run(["age", "-d", "-i", box.officer, path], capture_output=True, timeout=20)
        assert done.returncode != 0
        assert done.stdout == b""
    assert plain_audio_in(tmp_path, [noise(4 * RATE, 1), noise(4 * RATE, 2)]) == []


def test_withdrawal_with_erasure_in_mid_call(box: Vault, tmp_path: Path) -> None:
    writer = RecordingWriter(permit(), box.store, RATE)
    feed(writer, noise(5 * RATE, 1), noise(5 * RATE, 2))
    deadline = time.monotonic() + 20
    while writer._sealer.pending and time.monotonic() < deadline:  # a file that is being renamed cannot be copied
        time.sleep(0.01)
    backup = tmp_path / "backup"
    shutil.copytree(box.store.recordings, backup)
    summary = writer.abort(erase=True, reason="withdrawn").result(20)
    assert summary.erasure is not None
    assert summary.erasure.key_destroyed
    assert list(box.store.recordings.iterdir()) == list(box.store.keystore.iterdir()) == []
    with pytest.raises(CannotOpen):
        opens(RecordingStore(backup, box.store.keystore, None), summary, box.officer)


@pytest.mark.parametrize("step", [("unlink", 1), ("unlink", 2), ("unlink", 3), ("rmdir", 1), ("rmdir", 2)])
def test_a_kill_at_any_step_of_erasing_can_be_finished(box: Vault, tmp_path: Path, step: tuple[str, int]) -> None:
    """The key goes first: from the second unlink on nothing opens, however many files are left."""
    kept = finished(box)
    program = (
        "import sys; from pathlib import Path; from ivr.vault.store import RecordingStore; "
        "RecordingStore(Path(sys.argv[1]), Path(sys.argv[2]), None).erase(sys.argv[3], sys.argv[4])"
    )
    syscall, nth = step
    trace = ["strace", "-f", "-qq", "-e", "trace=" + syscall, "-o", "/dev/null"]
    trace += ["-e", f"inject={syscall}:signal=SIGKILL:when={nth}"]
    folders = [str(box.store.recordings), str(box.store.keystore)]
    command = [*trace, sys.executable, "-c", program, *folders, kept.call, kept.recording]
    done = subprocess.run(command, capture_output=True, timeout=60, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode == -signal.SIGKILL
    # Already before the first unlink the key's bytes have been overwritten.
    with pytest.raises((CannotOpen, NotFound)):
        opens(box.store, kept, box.officer)
    box.store.erase(kept.call, kept.recording)
    assert list(box.store.recordings.iterdir()) == list(box.store.keystore.iterdir()) == []


@pytest.mark.parametrize("syscall", ["write", "fsync", "rename"])
def test_what_a_kill_left_of_a_key_goes_with_the_recording(box: Vault, tmp_path: Path, syscall: str) -> None:
    call, recording = uuid7(), uuid7()
    program = (
        "import sys; from pathlib import Path; from ivr.vault.store import RecordingStore; "
        "p = Path(sys.argv[1]); "
        "RecordingStore(p / 'recordings', p / 'keystore', p / 'recipients.txt', min_free_bytes=0)"
        ".create(sys.argv[2], sys.argv[3])"
    )
    trace = ["strace", "-f", "-qq", "-e", "trace=" + syscall, "-o", "/dev/null"]
    trace += ["-e", f"inject={syscall}:signal=SIGKILL:when=1"]
    command = [*trace, sys.executable, "-c", program, str(box.officer.parent), call, recording]
    done = subprocess.run(command, capture_output=True, timeout=60, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode == -signal.SIGKILL
    assert len(list(box.store.keystore.iterdir())) == 1
    if syscall == "write":
        box.store.remove_leftovers(call, recording)
    else:
        box.store.erase(call, recording)
    assert list(box.store.keystore.iterdir()) == []
