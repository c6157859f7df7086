# SPDX-License-Identifier: GPL-3.0-or-later
"""A recording as an ordinary audio file. This is the one place where audio leaves the vault in clear, on request."""

import io
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Literal

import soundfile

from ivr.vault.durable import write_durably
from ivr.vault.errors import VaultError
from ivr.vault.open import OpenRecording, blocks

_WAV_LIMIT = 2**32 - 256
_MEMORY = Path("/dev/shm")


class Format(Enum):
    """What a recording can be exported as; the first two keep every sample."""

    WAV = "wav"
    FLAC = "flac"
    MP3 = "mp3"
    OGG = "ogg"


def export(opened: OpenRecording, form: Format, output: Path, *, replace: bool = False) -> int:
    """Write the whole recording to `output` (0600, durably) and return its size in bytes.

    Raises VaultExists for a file that is there (unless `replace`), CannotOpen or Damaged for a recording that is not
    whole; then `output` is not written.
    """
    rate = opened.rate
    if form is Format.WAV:
        write_durably(output, wav(opened, rate), replace=replace)
    elif form is Format.FLAC:
        write_durably(output, _flac(opened, rate), replace=replace)
    else:
        write_durably(output, _compressed(opened, rate, "mp3" if form is Format.MP3 else "ogg"), replace=replace)
    return output.stat().st_size


def wav(opened: OpenRecording, rate: int) -> Iterator[bytes]:
    """The parts of a 16-bit stereo WAV file, a segment at a time. Raises VaultError for one above 4 GiB."""
    size = opened.stored.samples * 4
    if size > _WAV_LIMIT:
        raise VaultError("too long for a WAV file", opened.stored.recording, "export it as flac")
    yield struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 2, rate, rate * 4, 4, 16, b"data", size
    )
    yield from blocks(opened)


def _flac(opened: OpenRecording, rate: int) -> bytes:
    out = io.BytesIO()
    with soundfile.SoundFile(out, "w", rate, 2, subtype="PCM_16", format="FLAC") as file:
        for _, audio in opened.segments():
            file.write(audio)
    return out.getvalue()


def _compressed(opened: OpenRecording, rate: int, form: Literal["mp3", "ogg"]) -> bytes:
    # pydub and the program behind it are needed here only; listing and checking must work without them.
    from media.audio import AudioError
    from media.compress import encode

    audio = opened.audio()
    try:
        with _temporary_files_in_memory():
            return encode(audio, rate, form)
    except AudioError as error:
        raise VaultError(str(error), opened.stored.recording) from error


@contextmanager
def _temporary_files_in_memory() -> Iterator[None]:
    """The encoder works on a temporary file of plain audio, which must not reach a disk, not even if it is killed.

    Process-wide while it lasts: for a command's process, not for a server's.
    """
    if not _MEMORY.is_dir():
        raise VaultError("no memory file system for the encoder's plain audio", _MEMORY, "export as wav or flac")
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(dir=_MEMORY, prefix="assent-") as folder:
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = before
