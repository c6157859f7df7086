# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 at any moment: what was sealed is intact, at most 2 s are lost, and no plain audio is on the disk."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ivr.ledger.ids import uuid7
from ivr.vault.durable import is_leftover
from ivr.vault.open import OpenRecording
from ivr.vault.sealing import load_identities, load_recipients, new_recording_key
from vault_kit import LENGTH, RATE, Vault, noise, plain_audio_in, vault

TESTS = Path(__file__).resolve().parent.parent
VICTIM = Path(__file__).with_name("vault_victim.py")
MAY_BE_LOST = 2 * RATE


def killed_after(box: Vault, seconds: float, seed: int) -> tuple[str, str, int, int]:
    """Run the victim, kill it `seconds` after it began to write; (call, recording, samples taken, samples unsealed)."""
    call, recording = uuid7(), uuid7()
    command = [sys.executable, str(VICTIM), str(box.officer.parent), call, recording, str(seed)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as victim:
        if victim.stdout is None:
            raise RuntimeError("no pipe")
        assert victim.stdout.readline() == "ready\n"
        time.sleep(seconds)  # the moment itself is the test's input, nothing is asserted of it
        victim.send_signal(signal.SIGKILL)
        said = victim.stdout.read().splitlines()
    written, unsealed = said[-1].split() if said else ("0", "0")
    return call, recording, int(written), int(unsealed)


@pytest.mark.parametrize("seed", range(0, 10, 2))
def test_what_was_sealed_survives_a_kill(tmp_path: Path, seed: int) -> None:
    box = vault(tmp_path / "vault")
    call, recording, written, unsealed = killed_after(box, random.Random(seed).uniform(0.0, 0.9), seed)
    assert 0 <= written <= LENGTH
    opened = OpenRecording(box.store, call, recording, load_identities(box.officer))
    audio = opened.audio()
    expected = np.stack([noise(LENGTH, seed), noise(LENGTH, seed + 1)], axis=1)
    assert (audio == expected[: len(audio)]).all()
    assert written - len(audio) <= unsealed, "what the writer called sealed is on the disk"
    assert written - len(audio) <= MAY_BE_LOST
    assert box.store.inventory(call, recording) == list(opened.stored.segments)
    assert all(is_leftover(name) for name in opened.stored.others)
    searched = [noise(LENGTH, seed)[: max(written, 1600)], noise(LENGTH, seed + 1)[: max(written, 1600)]]
    assert plain_audio_in(tmp_path, searched) == []
    box.store.remove_leftovers(call, recording)
    assert box.store.strays() == []


def test_the_search_for_plain_audio_finds_it(tmp_path: Path) -> None:
    channels = [noise(RATE, 1), noise(RATE, 2)]
    both = np.stack(channels, axis=1)
    for number, hidden in enumerate(
        [channels[0][100:500].tobytes(), channels[1][3:300].byteswap().tobytes(), both[500:800].tobytes(), b"fLaC"]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "f").write_bytes(os.urandom(1001) + hidden + os.urandom(1000))
        assert plain_audio_in(folder, channels) != []


STEPS = [("write", 1), ("fsync", 1), ("rename", 1), ("fsync", 2), ("write", 2)]


@pytest.mark.parametrize("step", range(len(STEPS)))
def test_a_kill_at_each_step_of_a_write_leaves_it_whole_or_absent(tmp_path: Path, step: int) -> None:
    """The kernel kills the process when it enters the step: data, its sync, the name, its sync, the acknowledgement."""
    target = tmp_path / "out" / "file"
    target.parent.mkdir()
    sealed, _ = new_recording_key(load_recipients(vault(tmp_path / "v").recipients), "test")
    (tmp_path / "in").write_bytes(sealed)
    program = (
        "import sys; from pathlib import Path; from ivr.vault.durable import write_durably; "
        "write_durably(Path(sys.argv[2]), Path(sys.argv[1]).read_bytes()); print('durable', flush=True)"
    )
    syscall, nth = STEPS[step]
    trace = ["strace", "-f", "-qq", "-e", "trace=" + syscall, "-o", "/dev/null"]
    trace += ["-e", f"inject={syscall}:signal=SIGKILL:when={nth}"]
    command = [*trace, sys.executable, "-c", program, str(tmp_path / "in"), str(target)]
    done = subprocess.run(command, capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert all(path.name == target.name or is_leftover(path.name) for path in target.parent.iterdir())
    if target.exists():
        assert target.read_bytes() == sealed
    if step != STEPS.index(("rename", 1)):  # killed while renaming: either is right
        assert target.exists() == (step > STEPS.index(("rename", 1)))
