# SPDX-License-Identifier: GPL-3.0-or-later
"""The report: one file that asks for nothing, says what the log says, and draws what was kept and when it might be."""

import base64
import hashlib
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from export_kit import facts_of, played, proofs_of
from ivr.audit.receipt import Receipt, check_receipt
from ivr.audit.replay import Difference, Differs, ReplayReport
from ivr.export import report
from ivr.export.errors import ExportError
from ivr.export.facts import Facts, Known
from ivr.export.markup import el, join
from ivr.export.pdf import pdf
from ivr.export.picture import picture
from ivr.export.stretches import Kind, lanes
from ivr.export.waveform import Envelope, Waveform
from ivr.export.words import LANGUAGES, words

NOTHING_INSIDE = frozenset({"meta", "br", "hr", "img", "link"})


class Page(HTMLParser):
    """What a browser would find."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], "a tag was never closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in NOTHING_INSIDE:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def drawn(case: str) -> Waveform | None:
    facts, envelope = facts_of(case), None
    for one in facts.recordings:
        if one.spans and not one.erased:
            envelope = envelope or Envelope(lanes(facts).end_ms)
            envelope.add(one, played(case).opened(one.id))
    return envelope.waveform() if envelope else None


def made(facts: Facts, proofs: Any = (), waveform: Waveform | None = None) -> str:
    return report.html(report.Report(facts, proofs, lanes(facts), waveform, ["example.org/log+00+AA"]))


@cache
def html_of(case: str) -> str:
    return made(facts_of(case), proofs_of(case), drawn(case))


CASES = ["hold-in-call", "withdraw-caller-keep", "withdraw-caller-erase", "opt-out-no-key-path", "no-consent-step"]


@pytest.mark.parametrize("case", CASES)
def test_it_asks_for_nothing(case: str) -> None:
    page = Page(html_of(case))
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "img", "iframe", "object", "embed", "form", "base", "video", "audio"), tag
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "style", "srcset")]
        href = attributes.get("href")
        assert href is None or href.startswith("data:application/octet-stream;base64,")
    outside = re.sub(r"data:[a-z/-]+;base64,[A-Za-z0-9+/=]+", "", html_of(case))
    assert not re.search(r"(?:src|href|url\()\s*=?\s*[\"']?(?:https?:|//)", outside)
    assert "@import" not in outside


def test_the_policy_forbids_everything_but_the_one_style_sheet() -> None:
    page = Page(html_of("hold-in-call"))
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    (style,) = re.findall(r"<style>(.*?)</style>", html_of("hold-in-call"), re.S)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_nothing_of_a_log_becomes_a_tag() -> None:
    evil = '<script>alert("x")</script>'
    facts = facts_of("opt-out-silence")
    assert facts.asked is not None
    notice = replace(facts.notices[0], text=f"Hello {evil}", language='e"n><b')
    asked = replace(facts.asked, settings={**(facts.asked.settings or {}), "purposes": [evil], "controller": evil})
    first = replace(facts.steps[0], personal={"caller": evil, "dialled": "<b>100</b>"}, with_personal=True)
    changed = replace(facts, notices=(notice,), asked=asked, steps=(first, *facts.steps[1:]), with_personal=True)
    page = Page(made(changed))
    assert "script" not in {tag for tag, _ in page.tags}
    assert "b" not in {tag for tag, _ in page.tags}
    assert page.words.count(evil) >= 3


def test_markup_escapes_everything_that_is_not_its_own() -> None:
    assert join("<", el("b", "&", title='"')) == '&lt;<b title="&quot;">&amp;</b>'


@pytest.mark.parametrize(
    ("case", "heading", "said"),
    [
        ("hold-in-call", "Recorded", "The caller did not object"),
        ("withdraw-caller-erase", "Recorded, and erased since", "The caller withdrew"),
        ("opt-out-no-key-path", "Not recorded", "A key could not have been heard on this line"),
        ("opt-out-refuse-in-notice", "Not recorded", "The caller refused"),
    ],
)
def test_the_headline_says_whether_and_why(case: str, heading: str, said: str) -> None:
    text = html_of(case)
    assert f">{heading}</span></h1>" in text
    assert said in Page(text).words


def test_every_event_is_in_the_timeline_with_its_number() -> None:
    text = html_of("withdraw-caller-keep")
    for step in facts_of("withdraw-caller-keep").steps:
        assert f">{step.seq}</td></tr>" in text
        assert step.time[11:23] in text


def test_the_notice_is_shown_only_when_its_hash_fits() -> None:
    server, facts = played("opt-out-silence"), facts_of("opt-out-silence")
    (notice,) = facts.notices
    assert notice.text is not None
    assert notice.text in Page(html_of("opt-out-silence")).words
    lied = server.facts(Known({notice.text_sha256: "Nobody records anything."}, {}))
    assert "Nobody records anything" not in made(lied)
    assert "words are not at hand" in Page(made(lied)).words
    assert notice.text_sha256 in made(lied)


def test_nobody_is_named_unless_asked() -> None:
    server = played("hold-in-call")
    assert "+4930" not in html_of("hold-in-call")
    assert "sip:" not in html_of("hold-in-call")
    assert "(left out)" in html_of("hold-in-call")
    assert "(erased)" not in html_of("hold-in-call")
    assert "+4930" in Page(made(server.facts(with_personal=True))).words


def test_every_receipt_in_it_checks() -> None:
    text = html_of("withdraw-caller-keep")
    files = [base64.b64decode(found) for found in re.findall(r'octet-stream;base64,([^"]+)"', text)]
    keys = played("withdraw-caller-keep").keys.keys
    checked = [check_receipt(Receipt.parse(file.decode()), keys) for file in files]
    assert {one.event.type for one in checked if one.event} >= {
        "consent.decided",
        "consent.withdrawn",
        "recording.permitted",
        "call.ended",
    }
    assert all(one.signed for one in checked)


def test_a_call_that_does_not_replay_is_not_called_good() -> None:
    facts = facts_of("opt-out-silence")
    difference = Difference(Differs.DECISION_CHANGED, facts.call, 9, "one", "another")
    words_of = Page(made(replace(facts, replay=ReplayReport(differences=[difference])))).words
    assert "✗ does not hold" in words_of
    assert "decision-changed" in words_of
    assert "✓ holds" in Page(html_of("opt-out-silence")).words


def test_for_people_who_do_not_see_it() -> None:
    page = Page(html_of("hold-in-call"))
    assert [len(page.all(f"h{n}")) for n in (1, 2)] == [1, 8]
    (html,) = page.all("html")
    assert html["lang"] == "en"
    images = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    assert [svg["aria-labelledby"] for svg in images] == ["picture-title picture-desc"]
    assert all(svg.get("aria-hidden") == "true" for svg in page.all("svg") if svg not in images)
    assert all(th["scope"] == "col" for th in page.all("th"))
    idents = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(idents) == len(set(idents))
    assert {section["aria-labelledby"] for section in page.all("section")} <= set(idents)


# -- the picture -----------------------------------------------------------------------------------------------------


def kinds(case: str) -> list[Kind]:
    return [stretch.kind for stretch in lanes(facts_of(case)).consent]


@pytest.mark.parametrize(
    ("case", "last"),
    [
        ("withdraw-caller-keep", Kind.WITHDRAWN),
        ("opt-out-refuse-in-notice", Kind.REFUSED),
        ("opt-out-no-key-path", Kind.BLOCKED),
        ("never", Kind.REFUSED),
    ],
)
def test_what_the_gate_said(case: str, last: Kind) -> None:
    assert kinds(case)[-1] is last
    assert Kind.ALLOWED not in kinds(case) or case == "withdraw-caller-keep"


def test_every_kept_stretch_lies_in_an_allowed_one() -> None:
    for case in ("hold-in-call", "withdraw-caller-keep", "two-agents"):
        found = lanes(facts_of(case))
        kept = [s for s in found.recorded if s.kind is Kind.KEPT]
        assert kept
        allowed = [s for s in found.consent if s.kind is Kind.ALLOWED]
        assert all(any(a.from_ms - 1 <= s.from_ms and s.to_ms <= a.to_ms + 40 for a in allowed) for s in kept), case


def test_a_pause_is_a_gap_with_its_reason_and_nothing_is_drawn_in_it() -> None:
    found = lanes(facts_of("hold-in-call"))
    assert [s.kind for s in found.recorded] == [Kind.KEPT, Kind.GAP, Kind.KEPT]
    gap = found.recorded[1]
    assert gap.why == "a party is on hold"
    waveform = drawn("hold-in-call")
    assert waveform is not None
    for channel in (waveform.caller, waveform.agent):
        times = (np.flatnonzero(~np.isnan(channel)) + 0.5) * found.end_ms / len(channel)
        kept = [s for s in found.recorded if s.kind is Kind.KEPT]
        column = found.end_ms / len(channel)
        assert all(any(s.from_ms - column <= t <= s.to_ms + column for s in kept) for t in times)
        assert len(times) > 100


def test_the_waveform_shows_the_loudest_sample_of_each_column() -> None:
    (one,) = facts_of("withdraw-caller-keep").recordings
    opened = played("withdraw-caller-keep").opened(one.id)
    envelope = Envelope(lanes(facts_of("withdraw-caller-keep")).end_ms, 40)
    envelope.add(one, opened)
    waveform = envelope.waveform()
    loudest = np.abs(opened.audio().astype(float)).max(axis=0) / 32768
    assert (np.nanmax(waveform.caller), np.nanmax(waveform.agent)) == tuple(loudest)


def test_erased_audio_is_drawn_as_erased() -> None:
    found = lanes(facts_of("withdraw-caller-erase"))
    assert [s.kind for s in found.recorded] == [Kind.ERASED]
    assert drawn("withdraw-caller-erase") is None


def test_stretches_are_told_apart_without_colour() -> None:
    """Each kind in the lane of consent has a pattern of its own or none, and a word where there is room."""
    seen = {}
    for case in ("withdraw-caller-keep", "opt-out-no-key-path", "opt-out-refuse-in-notice"):
        text = picture(lanes(facts_of(case)), None, words("en"))
        for ident, inside in re.findall(r'<pattern [^>]*id="p-(\w+)"[^>]*>(.*?)</pattern>', text):
            seen[ident] = re.findall(r' d="([^"]+)"', inside)[0]
    assert len(set(seen.values())) == len(seen) >= 4
    assert ">withdrawn</text>" in html_of("withdraw-caller-keep")
    assert ">blocked</text>" in html_of("opt-out-no-key-path")
    assert ">pause</text>" in html_of("hold-in-call")


def test_a_language_has_all_the_words() -> None:
    for language, found in LANGUAGES.items():
        assert found.keys() == LANGUAGES["en"].keys(), language
        assert all(found.values()), language
    for kind in Kind:
        assert f"kind_{kind}" in LANGUAGES["en"]
    with pytest.raises(ExportError, match="no report in 'xx'"):
        words("xx")


def test_the_same_page_as_a_pdf() -> None:
    content = pdf(html_of("opt-out-no-key-path"))
    assert content.startswith(b"%PDF-")
    inside = b"".join(_streams(content))
    assert b"/MarkInfo" in inside  # tagged, for people who hear it
    assert b"/StructTreeRoot" in inside
    assert 2 <= len(re.findall(rb"/Type ?/Page\b", inside)) <= 12


def _streams(content: bytes) -> Iterator[bytes]:
    for part in content.split(b"stream\n")[1:]:
        with suppress(zlib.error):
            yield zlib.decompressobj().decompress(part)


def test_a_pdf_asks_for_nothing_either() -> None:
    with pytest.raises(ExportError, match="may ask for nothing"):
        pdf('<html lang="en"><title>x</title><body><img alt="x" src="https://example.org/x.png"></body></html>')


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    with pytest.raises(ExportError, match=r"assent-ivr\[pdf\]"):
        pdf("<html></html>")
