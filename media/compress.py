# SPDX-License-Identifier: GPL-3.0-or-later
"""MP3 and OGG of a recording for export, through pydub and ffmpeg. Nothing is written but what the caller writes."""

import io
import shutil
import warnings
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from media.audio import AudioError

with warnings.catch_warnings():
    # pydub warns about a missing ffmpeg at import; `encode` says it where it matters.
    warnings.simplefilter("ignore")
    from pydub import AudioSegment
    from pydub.exceptions import CouldntEncodeError

Compressed = Literal["mp3", "ogg"]
_CODEC: dict[str, tuple[str, str]] = {"mp3": ("libmp3lame", "64k"), "ogg": ("libvorbis", "64k")}


def encode(samples: NDArray[np.int16], rate: int, form: Compressed) -> bytes:
    """A whole MP3 or Ogg Vorbis file of int16 samples of shape (n,) or (n, channels).

    pydub hands ffmpeg a temporary file, so the folder for temporary files must be one that may hold plain audio:
    exporting is the operator's own act. Raises AudioError for an unknown form, a missing ffmpeg or a failed run.
    """
    if form not in _CODEC:
        raise AudioError(f"cannot compress to {form!r}: one of {', '.join(_CODEC)}")
    if shutil.which("ffmpeg") is None:
        raise AudioError("ffmpeg is not installed: apt-get install ffmpeg, or export as wav or flac")
    if not samples.size:
        raise AudioError("there are no samples to compress")
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    segment = AudioSegment(
        data=np.ascontiguousarray(samples, dtype="<i2").tobytes(), sample_width=2, frame_rate=rate, channels=channels
    )
    codec, bitrate = _CODEC[form]
    sink = io.BytesIO()
    try:
        segment.export(sink, format=form, codec=codec, bitrate=bitrate)
    except (CouldntEncodeError, OSError) as error:
        raise AudioError(f"ffmpeg could not make {form} of {len(samples)} samples at {rate} Hz: {error}") from error
    return sink.getvalue()
