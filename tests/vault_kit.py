# SPDX-License-Identifier: GPL-3.0-or-later
"""Real permits, keys and audio for the vault's tests."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pyrage import x25519

from ivr.ledger.event import Event, sign
from ivr.ledger.ids import uuid7
from ivr.ledger.keys import LedgerKey
from ivr.ledger.note import VKey
from ivr.ledger.permit import VerifiedPermit, verify_permit
from ivr.vault.segments import Audio
from ivr.vault.store import RecordingStore
from ivr.vault.writer import RecordingWriter

LEDGER = LedgerKey.of("test.example/log", Ed25519PrivateKey.generate())
RATE = 8000
LENGTH = 60 * RATE


def permit_token(call: str, recording: str, *, parties: tuple[str, ...] = ("caller", "agent-1")) -> tuple[str, VKey]:
    """A `recording.permitted` event signed by a real key, and that key."""
    data = {"recording": recording, "parties": list(parties), "number": 1, "reason": "cleared", "at_ms": 1000}
    event = Event(LEDGER.vkey.name, 0, None, uuid7(), "2026-01-02T12:15:30.123456Z", call, "recording.permitted", data)
    return sign(event, {}, LEDGER.kid, LEDGER.sign).jws, LEDGER.vkey


def permit(*, parties: tuple[str, ...] = ("caller", "agent-1")) -> VerifiedPermit:
    """A verified permit of a fresh call."""
    call = uuid7()
    jws, vkey = permit_token(call, uuid7(), parties=parties)
    return verify_permit(jws, vkey, call=call)


@dataclass(frozen=True)
class Vault:
    """A store in a folder of its own, and the officer's identity file."""

    store: RecordingStore
    officer: Path
    recipients: Path


def vault(folder: Path, *, min_free_bytes: int = 0) -> Vault:
    """Create keys and folders as `ivr init` would."""
    folder.mkdir(parents=True, exist_ok=True)
    officer = x25519.Identity.generate()
    (folder / "officer.age").write_text(f"# the officer's\n\n{officer}\n")
    (folder / "recipients.txt").write_text(f"# who opens recordings\n{officer.to_public()}\n")
    for name in ("recordings", "keystore"):
        (folder / name).mkdir(mode=0o700)
    store = RecordingStore(
        folder / "recordings", folder / "keystore", folder / "recipients.txt", min_free_bytes=min_free_bytes
    )
    return Vault(store, folder / "officer.age", folder / "recipients.txt")


def noise(samples: int, seed: int = 0) -> Audio:
    """Samples that occur nowhere by chance."""
    return np.random.default_rng(seed).integers(-20000, 20000, samples, dtype=np.int16)


def feed(writer: RecordingWriter, caller: Audio, agent: Audio, step: int = 160) -> None:
    """Write at the pace of the disk: never more than a little waits."""
    deadline = time.monotonic() + 60
    for at in range(0, len(caller), step):
        writer.write(caller[at : at + step], agent[at : at + step])
        while writer.unsealed > 2 * writer.rate:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{writer.unsealed} samples still wait")
            time.sleep(0.0005)


def everything(folder: Path) -> bytes:
    """All bytes of all files below `folder`."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def plain_audio_in(folder: Path, channels: list[Audio]) -> list[str]:
    """Every trace of plain audio in any file: a container's magic, or any 4 samples in a row, in either byte order."""
    signals = [*channels, np.stack(channels, axis=1).reshape(-1)]
    runs = np.concatenate([_words(form.tobytes(), 2) for signal in signals for form in (signal, signal.byteswap())])
    runs.sort()
    hint = np.zeros(2**24, np.bool_)
    hint[_hash(runs)] = True
    found = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        data = path.read_bytes()
        found += [f"{path}: {magic!r}" for magic in (b"fLaC", b"RIFF", b"OggS") if magic in data]
        words = _words(data, 1)
        likely = words[hint[_hash(words)]]
        if (runs[np.searchsorted(runs, likely).clip(max=len(runs) - 1)] == likely).any():
            found.append(f"{path}: samples in clear")
    return found


def _words(data: bytes, hop: int) -> npt.NDArray[np.uint64]:
    """The 8 bytes at every `hop`-th position, as one number each."""
    if len(data) < 8:
        return np.empty(0, np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(np.frombuffer(data, np.uint8), 8)[::hop]
    return np.ascontiguousarray(windows).view(np.uint64).reshape(-1)


def _hash(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    # Multiplicative hashing to 24 bits: comparing every word with every run would take most of the suite's time.
    return (words * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
