# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendered prompts on disk: WAV files named by the hash of all that shaped them, found through a manifest.

`<key>.json` is the manifest of one source at one rate, where the key hashes what is asked for (text, language,
rate). It names `<content>.wav`, where the content hash also covers engine, version, voice and levelling. A
worker only reads: it needs no engine. The WAV is durable before the manifest that names it, so a crash between
the two leaves an unnamed file and no prompt that could be found broken.
"""

import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from media import loudness, tones
from media.audio import Audio, AudioError, read
from media.loudness import Levelling
from media.tts import Engine

CALL_RATES = (8000, 16000)
_WAV_HEADER_BYTES = 44
_TONE_ENGINE = "tone/1"
_RECORDED_ENGINE = "recorded/1"


class CacheError(AudioError):
    """A cached prompt that must not be played. What is wrong is in the subclass; rendering again mends it."""


class PromptMissing(CacheError):
    """The manifest names a WAV file that is not there."""


class PromptShort(CacheError):
    """The WAV file holds fewer samples than its manifest says: a notice from it would be cut."""


class PromptChanged(CacheError):
    """The WAV file or its manifest is not what was rendered."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A text for the engine."""

    text: str
    language: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded file and the transcript that the flow declares for it."""

    path: Path
    text: str
    language: str


@dataclass(frozen=True, slots=True)
class Tone:
    """A made tone, by its name in `media.tones`: `ringback:uk`, `beep`."""

    name: str

    @property
    def text(self) -> str:
        return f"tone:{self.name}"

    @property
    def language(self) -> str:
        return "zxx"  # ISO 639-2: no linguistic content


Source = Spoken | Recorded | Tone


@dataclass(frozen=True, slots=True)
class PromptFile:
    """One verified WAV file. Hashes are hex SHA-256; `samples` at `rate` Hz is its whole length."""

    path: Path
    text: str
    language: str
    text_sha256: str
    audio_sha256: str
    samples: int
    rate: int

    @property
    def seconds(self) -> float:
        return self.samples / self.rate


@dataclass(frozen=True, slots=True)
class Manifest:
    """What stands in `<key>.json`."""

    file: str
    text: str
    language: str
    text_sha256: str
    audio_sha256: str
    samples: int
    rate: int
    engine: str
    levelling: str


def text_sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class PromptCache:
    """A folder of prompts. `find` reads and verifies, `render` makes what is not there."""

    def __init__(self, folder: Path, levelling: Levelling | None = None) -> None:
        self.folder = folder
        self.levelling = levelling or Levelling()

    def find(self, source: Source, rate: int) -> PromptFile | None:
        """The prompt at this rate, or None when it was never rendered.

        Raises PromptMissing, PromptShort or PromptChanged when it was, but the file is no longer what was made.
        """
        manifest = self._manifest(source, rate)
        return None if manifest is None else self._verified(manifest)

    def render(self, source: Source, rate: int, engine: Engine) -> PromptFile:
        """The prompt at this rate, made (again) when it is missing, broken, or was made in another way.

        Raises AudioError when it cannot be made.
        """
        made_by = self._made_by(source, engine)
        file = f"{self._content(source, rate, made_by)}.wav"
        try:
            manifest = self._manifest(source, rate)
            if manifest is not None and manifest.file == file:
                return self._verified(manifest)
        except CacheError:
            pass  # made again below, which is what its message would tell a person to do
        audio = self.audio(source, rate, engine)
        wav = audio.wav()
        digest = text_sha256(source.text)
        manifest = Manifest(
            file=file,
            text=source.text,
            language=source.language,
            text_sha256=digest,
            audio_sha256=hashlib.sha256(wav).hexdigest(),
            samples=len(audio.samples),
            rate=rate,
            engine=made_by,
            levelling=self.levelling.key(),
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_durably(self.folder / file, wav)
        told = json.dumps(asdict(manifest), ensure_ascii=False, indent=1, sort_keys=True) + "\n"
        write_durably(self.folder / f"{self._key(source, rate)}.json", told.encode())
        return self._verified(manifest)

    def audio(self, source: Source, rate: int, engine: Engine) -> Audio:
        """The prompt's audio without the cache: spoken, read or made, then resampled and levelled."""
        match source:
            case Tone(name):
                return tones.tone(name, rate)
            case Recorded(path, _, _):
                raw = read(path)
            case Spoken(text, language):
                raw = engine.speak(text, language)
        return loudness.levelled(raw.resampled(rate), self.levelling)

    def _made_by(self, source: Source, engine: Engine) -> str:
        match source:
            case Tone():
                return _TONE_ENGINE
            case Recorded(path, _, _):
                try:
                    return f"{_RECORDED_ENGINE} {hashlib.sha256(path.read_bytes()).hexdigest()}"
                except OSError as error:
                    raise AudioError(f"recorded prompt {path} cannot be read: {error.strerror}") from error
            case Spoken(_, language):
                return f"{engine.name}/{engine.version} {engine.voice(language)}"

    def _key(self, source: Source, rate: int) -> str:
        kind = type(source).__name__.lower()
        where = str(source.path) if isinstance(source, Recorded) else ""
        return _hash("key/1", kind, where, source.text, source.language, str(rate))

    def _content(self, source: Source, rate: int, made_by: str) -> str:
        return _hash("content/1", source.text, source.language, made_by, str(rate), self.levelling.key())

    def _manifest(self, source: Source, rate: int) -> Manifest | None:
        path = self.folder / f"{self._key(source, rate)}.json"
        try:
            manifest = Manifest(**json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise PromptChanged(f"{path} is no prompt manifest ({error}): ivr prompts render") from error
        asked = (source.text, source.language, text_sha256(source.text), rate)
        if (manifest.text, manifest.language, manifest.text_sha256, manifest.rate) != asked:
            raise PromptChanged(f"{path} describes another prompt than its name says: ivr prompts render")
        return manifest

    def _verified(self, manifest: Manifest) -> PromptFile:
        path = self.folder / Path(manifest.file).name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise PromptMissing(f"{path} cannot be read ({error.strerror}): ivr prompts render") from error
        if hashlib.sha256(data).hexdigest() != manifest.audio_sha256:
            raise _what_differs(path, data, manifest)
        return PromptFile(
            path=path,
            text=manifest.text,
            language=manifest.language,
            text_sha256=manifest.text_sha256,
            audio_sha256=manifest.audio_sha256,
            samples=manifest.samples,
            rate=manifest.rate,
        )


def _what_differs(path: Path, data: bytes, manifest: Manifest) -> CacheError:
    expected = _WAV_HEADER_BYTES + 2 * manifest.samples
    if len(data) < expected:
        return PromptShort(f"{path} has {len(data)} bytes of {expected}, it was cut: ivr prompts render")
    return PromptChanged(f"{path} is not the file that was rendered (SHA-256 differs): ivr prompts render")


def _hash(*parts: str) -> str:
    # Length-prefixed, so that no two lists of parts give the same bytes.
    joined = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
    return hashlib.sha256(joined).hexdigest()[:32]


def write_durably(path: Path, data: bytes) -> None:
    """All or nothing under `path`, also after a power cut: temp, fsync, rename, fsync of the folder."""
    handle, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
