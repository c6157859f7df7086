# SPDX-License-Identifier: GPL-3.0-or-later
"""Text to speech behind one small interface; espeak-ng as the engine that every Debian has."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from media.audio import Audio, AudioError, read

_TIMEOUT_SECONDS = 60.0
ESPEAK_VOICES: Mapping[str, str] = {"en": "en-gb", "de": "de", "fr": "fr-fr", "es": "es"}


class SpeechError(AudioError):
    """The engine is missing, does not know the language, or gave no audio."""


class Engine(Protocol):
    """Speaks a text. Two engines with the same name, version and voice must give the same audio."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    def voice(self, language: str) -> str:
        """What beside name and version shapes the audio (voice, speed). SpeechError: no such language."""
        ...

    def speak(self, text: str, language: str) -> Audio:
        """The text as mono audio at the engine's own rate and level. Raises SpeechError."""
        ...


@dataclass
class EspeakNg:
    """espeak-ng in a process of its own: text by standard input, WAV by standard output, no shell, no file."""

    words_per_minute: int = 165
    pitch: int = 45
    program: str = "espeak-ng"
    voices: Mapping[str, str] = field(default_factory=lambda: dict(ESPEAK_VOICES))
    name: str = "espeak-ng"

    @cached_property
    def version(self) -> str:
        said = self._run(["--version"], b"").decode("utf-8", "replace")
        found = re.search(r"\d+(?:\.\d+)+(?:-\w+)?", said)
        if found is None:
            raise SpeechError(f"{self.program} --version said {said.strip()!r}, not a version: is it espeak-ng?")
        return found.group()

    def voice(self, language: str) -> str:
        return f"{self._voice(language)}/{self.words_per_minute}wpm/p{self.pitch}"

    def speak(self, text: str, language: str) -> Audio:
        if not text.strip():
            raise SpeechError("there is no text to speak: give at least one word")
        # espeak-ng reads [[…]] as phonemes: what is hashed and what is heard would part.
        if "[[" in text or any(ord(sign) < 32 and sign not in "\n\t" for sign in text):
            raise SpeechError(f"text to speak may hold neither '[[' nor control characters: {text[:60]!r}")
        arguments = ["-v", self._voice(language), "-s", str(self.words_per_minute), "-p", str(self.pitch)]
        wav = self._run([*arguments, "-b", "1", "--stdin", "--stdout"], text.encode())
        if not wav:
            raise SpeechError(f"{self.program} gave no audio for {text[:60]!r}: does it know voice {language!r}?")
        return read(wav)

    @cached_property
    def _known_voices(self) -> frozenset[str]:
        """Every name by which espeak-ng lists a voice: language, name, file and its last part."""
        names: set[str] = set()
        for wanted in ("--voices", "--voices=mb"):
            for line in self._run([wanted], b"").decode("utf-8", "replace").splitlines()[1:]:
                columns = line.split()
                names.update(columns[1:2] + columns[3:5])
                names.update(column.rpartition("/")[2] for column in columns[4:5])
        return frozenset(names)

    def _voice(self, language: str) -> str:
        if language not in self.voices:
            language = language.partition("-")[0]
        if language not in self.voices:
            known = ", ".join(sorted(self.voices))
            raise SpeechError(f"no {self.name} voice is set for language {language!r}: one of {known}")
        voice = self.voices[language]
        # espeak-ng speaks with its default voice when it does not know one: a German notice in English, without error.
        if voice.partition("+")[0] not in self._known_voices:
            raise SpeechError(
                f"{self.program} has no voice {voice!r} for language {language!r}: {self.program} --voices"
            )
        return voice

    def _run(self, arguments: list[str], given: bytes) -> bytes:
        try:
            done = subprocess.run(
                [self.program, *arguments],
                input=given,
                capture_output=True,
                timeout=_TIMEOUT_SECONDS,
                check=False,
            )
        except FileNotFoundError as error:
            raise SpeechError(
                f"{self.program} is not installed: apt-get install espeak-ng, or give recorded files"
            ) from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SpeechError(f"{self.program} could not be run: {error}") from error
        if done.returncode:
            told = done.stderr.decode("utf-8", "replace").strip()
            raise SpeechError(f"{self.program} failed with {done.returncode}: {told or 'it said nothing'}")
        return done.stdout


@dataclass
class SpeaksOnce:
    """An engine that keeps its last speech: a prompt is needed at several rates in a row, but spoken once."""

    engine: Engine
    _last: tuple[str, str, Audio] | None = None

    @property
    def name(self) -> str:
        return self.engine.name

    @property
    def version(self) -> str:
        return self.engine.version

    def voice(self, language: str) -> str:
        return self.engine.voice(language)

    def speak(self, text: str, language: str) -> Audio:
        if self._last is None or self._last[:2] != (text, language):
            self._last = (text, language, self.engine.speak(text, language))
        return self._last[2]


def engine_named(name: str, voices: Mapping[str, str] | None = None) -> Engine:
    """The engine that the settings name, with their voices over its own. Raises SpeechError for an unknown name."""
    if name != "espeak-ng":
        raise SpeechError(f"unknown speech engine {name!r}: it must be espeak-ng, or give recorded files instead")
    return EspeakNg(voices={**ESPEAK_VOICES, **(voices or {})})
