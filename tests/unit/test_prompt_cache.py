# SPDX-License-Identifier: GPL-3.0-or-later
"""The prompt cache: what is found is what was rendered, and what was changed is never played."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from media.audio import Audio, AudioError, from_floats, read, write
from media.cache import (
    CALL_RATES,
    PromptCache,
    PromptChanged,
    PromptFile,
    PromptMissing,
    PromptShort,
    Recorded,
    Spoken,
    Tone,
    text_sha256,
)
from media.loudness import Levelling

HELLO = Spoken("Hello there.", "en")


class Hum:
    """An engine that hums; as many tenths of a second as the text has letters."""

    name = "hum"

    def __init__(self, version: str = "1", voice: str = "low") -> None:
        self.version = version
        self._voice = voice
        self.spoken = 0

    def voice(self, language: str) -> str:
        return f"{self._voice}-{language}"

    def speak(self, text: str, language: str) -> Audio:
        self.spoken += 1
        time = np.arange(len(text) * 2205) / 22050
        return from_floats(0.3 * np.sin(2 * np.pi * 300 * time), 22050)


@pytest.fixture
def cache(tmp_path: Path) -> PromptCache:
    return PromptCache(tmp_path / "cache")


@pytest.mark.parametrize("rate", CALL_RATES)
def test_rendered_is_found_and_described(cache: PromptCache, rate: int) -> None:
    assert cache.find(HELLO, rate) is None
    made = cache.render(HELLO, rate, Hum())
    assert cache.find(HELLO, rate) == made
    audio = read(made.path)
    assert (made.text, made.language, made.rate) == ("Hello there.", "en", rate)
    assert (audio.rate, len(audio.samples)) == (rate, made.samples)
    assert made.text_sha256 == hashlib.sha256(b"Hello there.").hexdigest()
    assert made.audio_sha256 == hashlib.sha256(made.path.read_bytes()).hexdigest()
    assert made.seconds == pytest.approx(1.5, abs=0.02)


def test_rendered_once_and_found_by_another_process(cache: PromptCache) -> None:
    engine = Hum()
    first = cache.render(HELLO, 8000, engine)
    assert cache.render(HELLO, 8000, engine) == first
    assert engine.spoken == 1
    assert PromptCache(cache.folder).find(HELLO, 8000) == first


def test_other_text_language_or_rate_is_another_prompt(cache: PromptCache) -> None:
    cache.render(HELLO, 8000, Hum())
    for source, rate in ((Spoken("Hello there!", "en"), 8000), (Spoken("Hello there.", "de"), 8000), (HELLO, 16000)):
        assert cache.find(source, rate) is None


def test_other_engine_voice_or_level_renders_again(cache: PromptCache) -> None:
    def path(engine: Hum, levelling: Levelling | None = None) -> Path:
        return PromptCache(cache.folder, levelling).render(HELLO, 8000, engine).path

    paths = {path(Hum()), path(Hum("2")), path(Hum(voice="high")), path(Hum(), Levelling(active=-25))}
    assert len(paths) == 4
    # The last one made is the one that is found: a worker does not know the engine.
    found = cache.find(HELLO, 8000)
    assert found is not None
    assert found.path == path(Hum(), Levelling(active=-25))


def damaged(cache: PromptCache) -> PromptFile:
    return cache.render(HELLO, 8000, Hum())


def test_missing_file_is_told_and_made_again(cache: PromptCache) -> None:
    made = damaged(cache)
    made.path.unlink()
    with pytest.raises(PromptMissing, match="ivr prompts render"):
        cache.find(HELLO, 8000)
    assert cache.render(HELLO, 8000, Hum()) == made


@pytest.mark.parametrize("cut", [1, 2, 44, 1000])
def test_short_file_is_told_and_made_again(cache: PromptCache, cut: int) -> None:
    made = damaged(cache)
    made.path.write_bytes(made.path.read_bytes()[:-cut])
    with pytest.raises(PromptShort, match="it was cut"):
        cache.find(HELLO, 8000)
    assert cache.render(HELLO, 8000, Hum()) == made


@pytest.mark.parametrize("at", [0, 30, 5000, -1])
def test_one_changed_byte_is_told(cache: PromptCache, at: int) -> None:
    made = damaged(cache)
    data = bytearray(made.path.read_bytes())
    data[at] ^= 1
    made.path.write_bytes(data)
    with pytest.raises(PromptChanged, match="SHA-256"):
        cache.find(HELLO, 8000)


@pytest.mark.parametrize("field", ["text", "language", "text_sha256", "rate"])
def test_manifest_of_another_prompt_is_told(cache: PromptCache, field: str) -> None:
    damaged(cache)
    [manifest] = cache.folder.glob("*.json")
    told = json.loads(manifest.read_text())
    told[field] = 16000 if field == "rate" else text_sha256("x") if field == "text_sha256" else "xx"
    manifest.write_text(json.dumps(told))
    with pytest.raises(PromptChanged, match="another prompt"):
        cache.find(HELLO, 8000)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"file": "x"}'])
def test_broken_manifest_is_told_and_made_again(cache: PromptCache, data: bytes) -> None:
    made = damaged(cache)
    [manifest] = cache.folder.glob("*.json")
    manifest.write_bytes(data)
    with pytest.raises(PromptChanged, match="no prompt manifest"):
        cache.find(HELLO, 8000)
    assert cache.render(HELLO, 8000, Hum()) == made


def test_manifest_cannot_name_a_file_elsewhere(cache: PromptCache, tmp_path: Path) -> None:
    made = damaged(cache)
    outside = tmp_path / "outside.wav"
    outside.write_bytes(made.path.read_bytes())
    [manifest] = cache.folder.glob("*.json")
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"file": "../outside.wav"}))
    with pytest.raises(PromptMissing):
        cache.find(HELLO, 8000)


def test_recorded_file_is_levelled_and_follows_its_content(cache: PromptCache, tmp_path: Path) -> None:
    file = tmp_path / "notice.wav"
    write(file, from_floats(Hum().speak("a" * 20, "en").floats() * 0.05, 22050))
    source = Recorded(file, "What it says.", "en")
    first = cache.render(source, 8000, Hum())
    assert first.text == "What it says."
    assert cache.find(Spoken("What it says.", "en"), 8000) is None
    write(file, Hum().speak("a" * 30, "en"))
    second = cache.render(source, 8000, Hum())
    assert second.samples == pytest.approx(first.samples + 8000, abs=100)
    assert cache.find(source, 8000) == second


def test_recorded_file_that_cannot_be_used(cache: PromptCache, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"gone\.wav"):
        cache.render(Recorded(tmp_path / "gone.wav", "x", "en"), 8000, Hum())
    write(tmp_path / "silent.wav", Audio(np.zeros(8000, dtype=np.int16), 8000))
    with pytest.raises(AudioError, match="no speech"):
        cache.render(Recorded(tmp_path / "silent.wav", "x", "en"), 8000, Hum())
    assert not list((tmp_path / "cache").glob("*"))


def test_tone_is_kept_as_it_is(cache: PromptCache) -> None:
    made = cache.render(Tone("ringback:uk"), 16000, Hum())
    assert made.samples == 48000
    assert made.language == "zxx"


def test_a_crash_before_the_manifest_leaves_nothing_to_be_found(
    cache: PromptCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    import media.cache as module

    replace = module.os.replace

    def crash(source: str, target: Path) -> None:
        if str(target).endswith(".json"):
            raise OSError("power cut")
        replace(source, target)

    monkeypatch.setattr(module.os, "replace", crash)
    with pytest.raises(OSError, match="power cut"):
        cache.render(HELLO, 8000, Hum())
    assert cache.find(HELLO, 8000) is None
    assert [file.suffix for file in cache.folder.iterdir()] == [".wav"]
