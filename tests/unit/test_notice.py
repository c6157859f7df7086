# SPDX-License-Identifier: GPL-3.0-or-later
"""The notice says every enforced fact in every language, or there is none; a recorded one says them too."""

import hashlib
from dataclasses import replace

import pytest

from ivr.consent.policy import LawfulBasis, Mode, OnWithdraw
from ivr.flow.consent_step import Consent
from ivr.flow.duration import Period
from ivr.flow.library import Library
from ivr.flow.notice import NoticeError, NoticeFacts, facts_of, recorded_notice, render_notice
from ivr.flow.values import LocalText, Term

LANGUAGES = ("de", "en", "es", "fr")
LIBRARY = Library.load()


def facts(language: str = "en", mode: Mode = Mode.OPT_OUT, **change: object) -> NoticeFacts:
    keys = {
        Mode.OPT_OUT: {"refuse_key": "9", "withdraw_key": "9", "on_withdraw": OnWithdraw.ERASE},
        Mode.OPT_IN: {"accept_key": "1", "withdraw_key": "9", "on_withdraw": OnWithdraw.KEEP},
    }.get(mode, {})
    whole = NoticeFacts(
        language,
        mode,
        controller="Example Limited",
        purposes=(Term("quality"), Term("training"), Term("dispute")),
        retention=Period(90, "day"),
        storage_place="Frankfurt",
        access=(Term("quality_team"), Term("supervisors")),
    )
    return replace(whole, **{**keys, **change})  # type: ignore[arg-type]


MODES = [
    facts(mode=Mode.OPT_OUT),
    facts(mode=Mode.OPT_OUT, withdraw_key="*"),
    facts(mode=Mode.OPT_IN),
    facts(mode=Mode.OPT_IN, refuse_key="2"),
    facts(mode=Mode.REQUIRED),
    facts(mode=Mode.REQUIRED, refuse_key="#", withdraw_key="#", on_withdraw=OnWithdraw.KEEP),
]


def test_english_opt_out_word_for_word() -> None:
    assert render_notice(facts(), LIBRARY.template("en")).text == (
        "Example Limited records this call for quality assurance, staff training and the handling of disputes. The "
        "recording is kept for 90 days in Frankfurt, and only the quality team and supervisors may listen to it. If "
        "you do not want to be recorded, press 9 now, or at any time during the call. What was recorded before that "
        "will be erased."
    )


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("whole", MODES, ids=lambda f: f"{f.mode}-{f.refuse_key}-{f.withdraw_key}")
def test_every_mode_in_every_language_says_every_fact(language: str, whole: NoticeFacts) -> None:
    template = LIBRARY.template(language)
    whole = replace(whole, language=language)
    notice = render_notice(whole, template)
    assert notice.sha256 == hashlib.sha256(notice.text.encode()).hexdigest()
    assert notice.facts is whole
    assert "{" not in notice.text
    assert "  " not in notice.text
    said = ["Example Limited", "Frankfurt", "90"]
    said += [template.purposes[name][0] for name in ("quality", "training", "dispute")]
    said += [template.access[name][0] for name in ("quality_team", "supervisors")]
    said += [template.keys[key][0] for key in (whole.refuse_key, whole.accept_key, whole.withdraw_key) if key]
    said += [template.clause(whole.on_withdraw)] if whole.on_withdraw else []
    for phrase in said:
        assert phrase in notice.text
    if whole.withdraw_key:
        assert any(words in notice.text for words in template.any_time)


@pytest.mark.parametrize("language", LANGUAGES)
def test_never_says_that_nothing_is_recorded(language: str) -> None:
    notice = render_notice(NoticeFacts(language, Mode.NEVER), LIBRARY.template(language))
    assert len(notice.text.split()) < 9


@pytest.mark.parametrize("language", LANGUAGES)
def test_keep_and_erase_one_and_many_are_told_apart(language: str) -> None:
    template = LIBRARY.template(language)
    keep = render_notice(facts(language, on_withdraw=OnWithdraw.KEEP), template)
    erase = render_notice(facts(language, on_withdraw=OnWithdraw.ERASE), template)
    assert keep.text != erase.text
    for unit in ("day", "week", "month", "year"):
        one = render_notice(facts(language, retention=Period(1, unit)), template).text
        three = render_notice(facts(language, retention=Period(3, unit)), template).text
        assert template.durations[unit].one[0] in one
        assert template.durations[unit].many[0].replace("{n}", "3") in three


@pytest.mark.parametrize("name", ["controller", "purposes", "retention", "storage_place", "access"])
@pytest.mark.parametrize("mode", [Mode.OPT_OUT, Mode.OPT_IN, Mode.REQUIRED])
def test_a_missing_fact_renders_nothing(mode: Mode, name: str) -> None:
    gone = facts(mode=mode, **{name: () if name in ("purposes", "access") else None})
    with pytest.raises(NoticeError) as error:
        render_notice(gone, LIBRARY.template("en"))
    assert list(error.value.missing) == [name]


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        (Mode.OPT_OUT, "refuse_key"),
        (Mode.OPT_OUT, "withdraw_key"),
        (Mode.OPT_OUT, "on_withdraw"),
        (Mode.OPT_IN, "accept_key"),
        (Mode.OPT_IN, "withdraw_key"),
        (Mode.OPT_IN, "on_withdraw"),
    ],
)
def test_a_missing_key_or_consequence_renders_nothing(mode: Mode, name: str) -> None:
    with pytest.raises(NoticeError) as error:
        render_notice(facts(mode=mode, **{name: None}), LIBRARY.template("en"))
    assert name in error.value.missing


def test_a_name_without_a_phrase_is_told_with_the_nearest() -> None:
    with pytest.raises(NoticeError, match="did you mean 'quality'") as error:
        render_notice(facts(purposes=(Term("training"), Term("qualty"))), LIBRARY.template("en"))
    assert list(error.value.missing) == ["purposes.1"]


def test_phrases_of_the_flow_itself() -> None:
    own = Term(None, LocalText((("de", "zur Forschung"), ("en", "research"))))
    assert "for research." in render_notice(facts(purposes=(own,)), LIBRARY.template("en")).text
    with pytest.raises(NoticeError, match="not given in fr"):
        render_notice(facts("fr", purposes=(own,)), LIBRARY.template("fr"))


def test_braces_in_a_fact_are_only_text() -> None:
    assert "{place}" in render_notice(facts(controller="{place}"), LIBRARY.template("en")).text


def test_facts_of_a_consent_step_in_its_language() -> None:
    step = Consent.model_validate(
        {
            "mode": "opt_out",
            "lawful_basis": "legitimate_interests",
            "controller": {"en": "Example", "de": "Beispiel"},
            "purposes": ["quality"],
            "retention": "90 days",
            "storage": {"place": {"en": "Germany", "de": "Deutschland"}},
            "access": ["legal"],
            "keys": {"refuse": "9"},
            "on_withdraw": "erase",
        }
    )
    found = facts_of(step, "de-AT")
    assert (found.controller, found.storage_place, found.withdraw_key) == ("Beispiel", "Deutschland", "9")
    with pytest.raises(NoticeError) as error:
        facts_of(step, "fr")
    assert set(error.value.missing) == {"controller", "storage_place"}
    never = Consent.model_validate({"mode": "never", "lawful_basis": LawfulBasis.CONTRACT})
    assert facts_of(never, "fr").mode is Mode.NEVER


# -- recorded notices --

TRANSCRIPT = (
    "Hello! Example Limited is recording this call: for quality, training and disputes. Recordings stay in Frankfurt "
    "for 90 days and are then deleted; the quality team and supervisors can hear them. No recording? Press nine, at "
    "any time. What was recorded until then is erased."
)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("whole", MODES, ids=lambda f: f"{f.mode}-{f.refuse_key}-{f.withdraw_key}")
def test_the_words_of_the_template_are_always_accepted(language: str, whole: NoticeFacts) -> None:
    template, whole = LIBRARY.template(language), replace(whole, language=language)
    text = render_notice(whole, template).text
    assert recorded_notice(whole, template, text).text == text


def test_other_words_for_the_same_facts_are_accepted() -> None:
    notice = recorded_notice(facts(), LIBRARY.template("en"), TRANSCRIPT.replace(". ", ".\n  "))
    assert notice.text == TRANSCRIPT
    assert notice.sha256 == hashlib.sha256(TRANSCRIPT.encode()).hexdigest()


@pytest.mark.parametrize(
    ("gone", "name"),
    [
        ("Example Limited", "controller"),
        ("quality, ", "purposes.0"),
        ("training", "purposes.1"),
        ("disputes", "purposes.2"),
        ("90 days", "retention"),
        ("Frankfurt", "place"),
        ("the quality team", "access.0"),
        ("supervisors", "access.1"),
        ("nine", "refuse_key"),
        ("at any time", "any_time"),
        ("is erased", "withdrawn"),
    ],
)
def test_a_transcript_that_leaves_a_fact_out_is_refused_naming_it(gone: str, name: str) -> None:
    text = TRANSCRIPT.replace(gone, "…")
    if name == "purposes.0":
        text = text.replace("the quality team", "the team")
    with pytest.raises(NoticeError, match="the transcript does not say") as error:
        recorded_notice(facts(), LIBRARY.template("en"), text)
    assert name in error.value.missing


def test_a_number_inside_another_does_not_count() -> None:
    with pytest.raises(NoticeError) as error:
        recorded_notice(facts(), LIBRARY.template("en"), TRANSCRIPT.replace("nine", "a key").replace("90", "190"))
    assert {"refuse_key", "retention"} <= set(error.value.missing)


def test_deleting_after_the_retention_says_nothing_about_withdrawing() -> None:
    text = TRANSCRIPT.replace("What was recorded until then is erased.", "")
    with pytest.raises(NoticeError) as error:
        recorded_notice(facts(), LIBRARY.template("en"), text)
    assert set(error.value.missing) == {"withdrawn"}


def test_a_transcript_with_the_other_consequence_is_refused() -> None:
    with pytest.raises(NoticeError) as error:
        recorded_notice(facts(on_withdraw=OnWithdraw.KEEP), LIBRARY.template("en"), TRANSCRIPT)
    assert set(error.value.missing) == {"withdrawn"}
