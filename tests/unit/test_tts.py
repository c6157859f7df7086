# SPDX-License-Identifier: GPL-3.0-or-later
"""The espeak-ng engine: what it speaks, what it refuses, and what it says when it is not there."""

from pathlib import Path

import numpy as np
import pytest

from media.audio import Audio
from media.tts import ESPEAK_VOICES, EspeakNg, SpeaksOnce, SpeechError, engine_named


@pytest.mark.parametrize("language", sorted(ESPEAK_VOICES))
def test_speaks_every_shipped_language(language: str) -> None:
    audio = EspeakNg().speak("1 2 3", language)
    assert audio.rate >= 16000
    assert 0.5 < audio.seconds < 5
    assert np.abs(audio.samples).max() > 3000


def test_same_text_gives_the_same_audio() -> None:
    engine = EspeakNg()
    assert np.array_equal(engine.speak("Hello.", "en").samples, engine.speak("Hello.", "en").samples)


def test_name_version_and_voice_tell_voices_apart() -> None:
    engine = EspeakNg()
    assert engine.name == "espeak-ng"
    assert engine.version[0].isdigit()
    assert engine.voice("en") != engine.voice("de")
    assert engine.voice("en") != EspeakNg(words_per_minute=120).voice("en")


def test_missing_engine_names_the_debian_package() -> None:
    with pytest.raises(SpeechError, match="apt-get install espeak-ng"):
        EspeakNg(program="/nowhere/espeak-ng").speak("Hello.", "en")


def test_voice_that_is_not_installed_is_an_error() -> None:
    # espeak-ng itself would speak with its default voice and report success.
    with pytest.raises(SpeechError, match="no voice 'no-such-voice' for language 'en'"):
        EspeakNg(voices={"en": "no-such-voice"}).speak("Hello.", "en")
    assert EspeakNg(voices={"en": "en-us+f3"}).speak("Hello.", "en").seconds > 0.2


def test_region_is_spoken_by_its_language() -> None:
    assert EspeakNg().voice("de-AT") == EspeakNg().voice("de")


@pytest.mark.parametrize(
    ("script", "told"), [("exit 0", "gave no audio"), ("echo broken >&2; exit 3", "with 3: broken")]
)
def test_failing_engine_is_an_error_with_what_it_said(tmp_path: Path, script: str, told: str) -> None:
    engine = tmp_path / "engine"
    voices = "echo Pty Language; echo 5 en-gb --/M English gmw/en"
    engine.write_text(f'#!/bin/sh\ncase "$1" in --voices*) {voices}; exit 0;; esac\ncat >/dev/null\n{script}\n')
    engine.chmod(0o755)
    with pytest.raises(SpeechError, match=told):
        EspeakNg(program=str(engine)).speak("Hello.", "en")


@pytest.mark.parametrize("text", ["", "  ", "say [[h@l'oU]]", "bell \x07"])
def test_text_that_would_not_be_heard_as_written_is_refused(text: str) -> None:
    with pytest.raises(SpeechError):
        EspeakNg().speak(text, "en")


def test_text_is_never_an_option_nor_a_shell_command(tmp_path: Path) -> None:
    target = tmp_path / "made"
    audio = EspeakNg().speak(f"--version; touch {target} $(touch {target})", "en")
    assert audio.seconds > 1
    assert not target.exists()


def test_unknown_language_and_engine() -> None:
    with pytest.raises(SpeechError, match=r"'xx'.*de, en, es, fr"):
        EspeakNg().speak("Hello.", "xx")
    with pytest.raises(SpeechError, match="parrot"):
        engine_named("parrot")
    assert engine_named("espeak-ng", {"en": "en-us"}).voice("en").startswith("en-us/")


def test_speaks_once_for_several_rates() -> None:
    class Counting:
        name, version, spoken = "counting", "1", 0

        def voice(self, language: str) -> str:
            return language

        def speak(self, text: str, language: str) -> Audio:
            self.spoken += 1
            return Audio(np.full(8, self.spoken, dtype=np.int16), 8000)

    counting = Counting()
    once = SpeaksOnce(counting)
    assert once.speak("a", "en") is once.speak("a", "en")
    assert once.speak("b", "en").samples[0] == 2
    assert once.speak("b", "de").samples[0] == 3
    assert (once.name, once.version, once.voice("de")) == ("counting", "1", "de")
