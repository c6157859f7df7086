# SPDX-License-Identifier: GPL-3.0-or-later
"""What flows need to say: all of it is listed, once, and what cannot be said is told at its line."""

from pathlib import Path

import pytest

from ivr.flow.library import REQUIRED_MESSAGES, Library
from ivr.flow.load import load_flows
from ivr.flow.model import Flow
from ivr.flow.place import FileError
from ivr.flow.prompts import Kind, PromptError, Prompts, needed_prompts, prompt_mistakes, render_all
from ivr.flow.spoken import Prompt
from ivr.flow.tones import RingBack
from media.audio import silence, write
from media.cache import PromptCache, Recorded, Spoken, Tone
from media.tts import EspeakNg

FLOW = """\
flows:
  desk:
    numbers: ["100"]
    language: en
    sections:
      main:
        - consent:
            mode: opt_out
            lawful_basis: legitimate_interests
            controller: Example Limited
            purposes: [quality]
            retention: 90 days
            storage: {place: Germany}
            access: [quality_team]
            keys: {refuse: "9"}
            on_withdraw: erase
        - play: Welcome.
        - menu:
            prompt: Press 2.
            keys: {"2": desk}
            invalid: {prompt: invalid_choice}
            otherwise: desk
      desk:
        - bridge:
            targets: ["sip:a@127.0.0.1"]
            ring_back: uk
            fallback: bye
        - hangup
      bye:
        - hangup: {prompt: {prompt: goodbye}}
"""
LIBRARY = Library.load()


def flows_of(tmp_path: Path, text: str = FLOW) -> tuple[Flow, ...]:
    file = tmp_path / "flow.yaml"
    file.write_text(text)
    return load_flows([file]).flows


def test_everything_that_can_be_heard_is_listed_once_notices_first(tmp_path: Path) -> None:
    [flow] = flows_of(tmp_path)
    specs = needed_prompts([flow, flow], LIBRARY)
    assert specs[0].kind is Kind.NOTICE
    assert specs[0].notice is not None
    assert specs[0].text == specs[0].notice.text
    names = [spec.name for spec in specs]
    assert names.count("goodbye") == 1
    assert set(REQUIRED_MESSAGES) | {"desk.main.2", "desk.main.3", "ringback:uk", "beep"} <= set(names)
    assert len({spec.source for spec in specs}) == len(specs)


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ("purposes: [quality]", "purposes: [qualty]", 11, "did you mean 'quality'"),
        ("access: [quality_team]", "access: [legal, cleaners]", 14, "'cleaners' has no phrase in en"),
        ("{prompt: invalid_choice}", "{prompt: invalid_choise}", 21, "no prompt 'invalid_choise' in en"),
        ("{prompt: goodbye}}", "{prompt: goodby}}", 30, "no prompt 'goodby' in en"),
        ("language: en", "language: it", 4, "no prompts in language 'it'"),
    ],
)
def test_what_cannot_be_said_is_told_at_its_line(tmp_path: Path, old: str, new: str, line: int, told: str) -> None:
    flows = flows_of(tmp_path, FLOW.replace(old, new))
    with pytest.raises(FileError) as error:
        needed_prompts(flows, LIBRARY)
    assert [(mistake.line, told in mistake.what) for mistake in error.value.mistakes] == [(line, True)]
    assert prompt_mistakes(flows[0], LIBRARY) == list(error.value.mistakes)


NOTICE = """\
            notice:
              file: notice.wav
              transcript: >-
                Example Limited records this call for quality, for 90 days, in Germany, heard by the quality team.
                Press 9 at any time and what was recorded until then is erased.
        - play: Welcome."""


def test_recorded_notice_is_used_with_its_transcript(tmp_path: Path) -> None:
    write(tmp_path / "notice.wav", EspeakNg().speak("A voice of our own says all this, and takes its time.", "en"))
    [flow] = flows_of(tmp_path, FLOW.replace("        - play: Welcome.", NOTICE))
    spec = needed_prompts([flow], LIBRARY)[0]
    assert isinstance(spec.source, Recorded)
    assert spec.source.path == tmp_path / "notice.wav"
    assert spec.text.startswith("Example Limited records")


def test_recorded_notice_that_leaves_a_fact_out_does_not_load(tmp_path: Path) -> None:
    write(tmp_path / "notice.wav", silence(1, 8000))
    flows = flows_of(tmp_path, FLOW.replace("        - play: Welcome.", NOTICE.replace("for 90 days, ", "")))
    with pytest.raises(FileError, match="does not say how long recordings are kept") as error:
        needed_prompts(flows, LIBRARY)
    assert [mistake.line for mistake in error.value.mistakes] == [17]


def test_recorded_notice_shorter_than_its_words_is_not_rendered(tmp_path: Path) -> None:
    write(tmp_path / "notice.wav", EspeakNg().speak("Too short.", "en"))
    [flow] = flows_of(tmp_path, FLOW.replace("        - play: Welcome.", NOTICE))
    report = render_all(needed_prompts([flow], LIBRARY)[:1], PromptCache(tmp_path / "cache"), EspeakNg(), (8000,))
    assert not report.complete
    [failure] = report.failures
    assert "too_short" in failure.what


def test_rendering_fills_the_cache_for_every_rate_and_tells_what_failed(tmp_path: Path) -> None:
    prompts = Prompts(LIBRARY)
    cache = PromptCache(tmp_path)
    good = prompts.message("not_recorded", "de")
    bad = prompts.prompt(Prompt.model_validate("say [[x]]"), "en", "a.b.1")
    report = render_all([good, bad, prompts.tone("beep")], cache, EspeakNg())
    assert [(failure.spec.name, failure.rate) for failure in report.failures] == [("a.b.1", 8000), ("a.b.1", 16000)]
    assert len(report.files) == 4
    for rate in (8000, 16000):
        assert cache.find(good.source, rate) is not None
        assert cache.find(bad.source, rate) is None


def test_references_are_resolved() -> None:
    prompts = Prompts(LIBRARY)
    assert prompts.message("goodbye", "fr").source == Spoken("Merci de votre appel. Au revoir.", "fr")
    both = Prompt.model_validate({"text": {"en": "Hi.", "de": "Hallo."}})
    assert prompts.prompt(both, "de-AT").text == "Hallo."
    with pytest.raises(PromptError, match="nothing to say in fr"):
        prompts.prompt(both, "fr")
    recorded = Prompt.model_validate({"file": "a.wav", "transcript": "Words."})
    assert prompts.prompt(recorded, "en").source == Recorded(Path("a.wav"), "Words.", "en")
    assert prompts.ring_back(RingBack.NONE) is None
    for choice in set(RingBack) - {RingBack.NONE}:
        tone = prompts.ring_back(choice)
        assert tone is not None
        assert tone.source == Tone(f"ringback:{choice.value}")
