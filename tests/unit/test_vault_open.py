# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading back: whatever is not as it was written is found and named; exports are whole and private."""

import io
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pyrage import x25519

from ivr.vault.errors import CannotOpen, Damaged, NotFound, VaultError, VaultExists
from ivr.vault.export import Format, export
from ivr.vault.open import OpenRecording, check_contiguous
from ivr.vault.sealing import load_identities
from ivr.vault.segments import SegmentFact, segment_name
from ivr.vault.writer import RecordingSummary, RecordingWriter
from vault_kit import Vault, feed, noise, permit, vault

RATE = 8000
SECONDS = 5


@pytest.fixture
def box(tmp_path: Path) -> Vault:
    return vault(tmp_path / "vault")


@pytest.fixture
def kept(box: Vault) -> RecordingSummary:
    return record(box)


def record(box: Vault) -> RecordingSummary:
    writer = RecordingWriter(permit(), box.store, RATE, at_ms=700)
    feed(writer, noise(SECONDS * RATE, 1), noise(SECONDS * RATE, 2))
    return writer.finish("hangup").result(20)


def opened(box: Vault, kept: RecordingSummary) -> OpenRecording:
    return OpenRecording(box.store, kept.call, kept.recording, load_identities(box.officer))


def files(box: Vault, kept: RecordingSummary) -> list[Path]:
    return sorted(box.store.folder(kept.call, kept.recording).iterdir())


def original() -> np.ndarray[tuple[int, int], np.dtype[np.int16]]:
    return np.stack([noise(SECONDS * RATE, 1), noise(SECONDS * RATE, 2)], axis=1)


def test_levels_by_channel(box: Vault) -> None:
    writer = RecordingWriter(permit(), box.store, RATE)
    tone = np.round(16384 * np.sin(2 * np.pi * 400 * np.arange(RATE) / RATE)).astype(np.int16)
    writer.write(tone, np.zeros(RATE, np.int16))
    contents = opened(box, writer.finish("hangup").result(20)).contents()
    assert (contents.caller.peak_db, contents.caller.rms_db) == (-6.0, -9.0)
    assert (contents.agent.peak_db, contents.agent.rms_db) == (None, None)
    assert (contents.rate, contents.samples) == (RATE, RATE)


def test_another_identity_does_not_open(box: Vault, kept: RecordingSummary) -> None:
    with pytest.raises(CannotOpen, match="wrong identity"):
        OpenRecording(box.store, kept.call, kept.recording, [x25519.Identity.generate()])
    with pytest.raises(NotFound):
        OpenRecording(box.store, kept.recording, kept.call, load_identities(box.officer))


def test_each_changed_byte_is_found(box: Vault, kept: RecordingSummary) -> None:
    path = files(box, kept)[1]
    whole = path.read_bytes()
    for at in range(0, len(whole), len(whole) // 12):
        changed = bytearray(whole)
        changed[at] ^= 1
        path.write_bytes(changed)
        with pytest.raises(CannotOpen, match=path.name):
            opened(box, kept).contents()
    path.write_bytes(whole[:-1])
    with pytest.raises(CannotOpen, match=path.name):
        opened(box, kept).contents()


@pytest.mark.parametrize("gone", [0, 1])
def test_a_missing_segment_is_named(box: Vault, kept: RecordingSummary, gone: int) -> None:
    files(box, kept)[gone].unlink()
    with pytest.raises(Damaged, match=f"segment {gone} is missing"):
        opened(box, kept)


def test_swapped_renamed_and_foreign_segments_are_found(box: Vault, kept: RecordingSummary) -> None:
    first, second = files(box, kept)[:2]
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    with pytest.raises(Damaged, match="renamed or moved"):
        opened(box, kept).contents()
    first.write_bytes(files(box, record(box))[0].read_bytes())
    with pytest.raises(CannotOpen):
        opened(box, kept).contents()


def test_spans_must_touch() -> None:
    def fact(n: int, start: int) -> SegmentFact:
        return SegmentFact(n, start, 10, "", 0)

    check_contiguous([fact(0, 0), fact(1, 10)], "r")
    for wrong in ([fact(0, 5)], [fact(0, 0), fact(1, 11)], [fact(0, 0), fact(1, 9)], [fact(0, 0), fact(0, 10)]):
        with pytest.raises(Damaged):
            check_contiguous(wrong, "r")


@pytest.mark.parametrize("form", [Format.WAV, Format.FLAC])
def test_a_lossless_export_has_every_sample(box: Vault, kept: RecordingSummary, tmp_path: Path, form: Format) -> None:
    out = tmp_path / "out"
    assert export(opened(box, kept), form, out) == out.stat().st_size
    audio, rate = soundfile.read(io.BytesIO(out.read_bytes()), dtype="int16")
    assert (rate, audio.shape) == (RATE, (SECONDS * RATE, 2))
    assert (audio == original()).all()
    assert out.stat().st_mode & 0o7777 == 0o600


def in_memory() -> set[Path]:
    """What is in the memory file system, but for databases of tests that run beside this one."""
    return {path for path in Path("/dev/shm").iterdir() if not path.name.startswith("PostgreSQL.")}


@pytest.mark.parametrize("form", [Format.MP3, Format.OGG])
def test_a_compressed_export_is_as_long_and_as_stereo(
    box: Vault, tmp_path: Path, form: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = RecordingWriter(permit(), box.store, RATE)
    tone = np.round(12000 * np.sin(2 * np.pi * 400 * np.arange(3 * RATE) / RATE)).astype(np.int16)
    writer.write(tone, np.zeros(3 * RATE, np.int16))
    summary = writer.finish("hangup").result(20)
    # The encoder's temporary file holds plain audio: whatever folder it would have used must not see it.
    nowhere = tmp_path / "must-not-be-used"
    monkeypatch.setattr(tempfile, "tempdir", str(nowhere))
    before = in_memory()
    export(opened(box, summary), form, tmp_path / "out")
    assert tempfile.tempdir == str(nowhere)
    assert in_memory() - before == set()
    audio, rate = soundfile.read(io.BytesIO((tmp_path / "out").read_bytes()))
    assert (rate, audio.shape[1]) == (RATE, 2)
    assert abs(len(audio) - 3 * RATE) < 0.3 * RATE
    peaks = np.abs(audio[RATE : 2 * RATE]).max(axis=0)
    assert 0.3 < peaks[0] < 0.45
    assert peaks[1] < 0.02
    assert (tmp_path / "out").stat().st_mode & 0o7777 == 0o600


def test_an_export_never_replaces_a_file_unasked(box: Vault, kept: RecordingSummary, tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    out.write_bytes(b"mine")
    with pytest.raises(VaultExists):
        export(opened(box, kept), Format.WAV, out)
    assert out.read_bytes() == b"mine"
    export(opened(box, kept), Format.WAV, out, replace=True)
    assert out.read_bytes()[:4] == b"RIFF"


@pytest.mark.parametrize("form", [Format.WAV, Format.FLAC])
def test_a_damaged_recording_leaves_no_export(box: Vault, kept: RecordingSummary, tmp_path: Path, form: Format) -> None:
    files(box, kept)[-1].write_bytes(b"?")
    out = tmp_path / "exports"
    out.mkdir()
    with pytest.raises(VaultError):
        export(opened(box, kept), form, out / "x")
    assert list(out.iterdir()) == []


def test_the_age_and_flac_commands_alone_open_a_recording(box: Vault, kept: RecordingSummary, tmp_path: Path) -> None:
    key = tmp_path / "recording.key"
    command = ["age", "-d", "-i", box.officer, "-o", key, box.store.key_file(kept.recording)]
    subprocess.run(command, check=True, timeout=20)
    parts = []
    for fact in kept.segments:
        path = box.store.folder(kept.call, kept.recording) / segment_name(fact.n, fact.start, fact.samples)
        flac = tmp_path / f"{fact.n}.flac"
        subprocess.run(["age", "-d", "-i", key, "-o", flac, path], check=True, timeout=20)
        subprocess.run(["flac", "-t", "-s", flac], check=True, timeout=20)
        raw = ["flac", "-d", "-s", "-c", "--force-raw-format", "--endian=little", "--sign=signed", flac]
        done = subprocess.run(raw, check=True, timeout=20, capture_output=True)
        parts.append(np.frombuffer(done.stdout, "<i2").reshape(-1, 2))
    assert (np.concatenate(parts) == original()).all()
    shutil.rmtree(tmp_path)
