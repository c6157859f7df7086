# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a call as one HTML file that loads nothing: a policy in the page forbids every request."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files

from ivr import __version__
from ivr.export import report_parts as parts
from ivr.export.facts import Facts
from ivr.export.markup import Markup, el, raw
from ivr.export.proof import Proof
from ivr.export.stretches import Lanes
from ivr.export.waveform import Waveform
from ivr.export.words import words

STYLE = (files("ivr.export") / "report.css").read_text("utf-8")


@dataclass(frozen=True, slots=True)
class Report:
    """What a report is made of. `vkeys`: the log's verifier keys; `waveform`: None when recordings were not opened."""

    facts: Facts
    proofs: Sequence[Proof]
    lanes: Lanes
    waveform: Waveform | None
    vkeys: Sequence[str]
    language: str = "en"


def html(report: Report) -> str:
    """The whole file. Raises ExportError for a language that is not there."""
    w = words(report.language)
    page = el(
        "html",
        _head(report, w),
        el("body", _header(report, w), el("main", *_sections(report, w)), _footer(w)),
        lang=report.language,
    )
    return f"<!DOCTYPE html>\n{page}\n"


def _head(report: Report, w: Mapping[str, str]) -> Markup:
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    # Nothing may be asked of anybody. The one style sheet is named by its hash: not even a style can be injected.
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="referrer", content="no-referrer"),
        el("meta", name="robots", content="noindex"),
        el("meta", name="generator", content=f"assent-ivr {__version__}"),
        el("title", f"{w['title']} {report.facts.call}"),
        el("style", raw(STYLE)),
    )


def _header(report: Report, w: Mapping[str, str]) -> Markup:
    facts = report.facts
    verdict, _, why = facts.headline.partition(": ")
    kind = {"RECORDED": "recorded", "RECORDED AND ERASED": "erased"}.get(verdict, "not")
    received = facts.first("call.received")
    ended = facts.first("call.ended") or facts.first("call.lost")
    shown = [
        (w["call"], el("span", facts.call, class_="mono")),
        (w["received"], parts.when(facts.received)),
        (w["length"], parts.seconds(facts.end_ms / 1000) + (f", {ended.sentence}" if ended else "")),
        (w["flow"], str(received.data.get("flow")) if received else ""),
        *parts.people(facts, w),
        (w["made"], parts.when(datetime.now(UTC))),
    ]
    return el(
        "header",
        el("p", f"{w['title']} · {facts.origin}", class_="kicker"),
        el("h1", el("span", w[verdict], class_=f"verdict {kind}")),
        el("p", why[:1].upper() + why[1:] + ".", class_="why"),
        parts.fact_list(shown),
    )


def _sections(report: Report, w: Mapping[str, str]) -> list[Markup]:
    facts = report.facts
    return [
        parts.section("picture", w["picture"], *parts.picture_part(report.lanes, report.waveform, facts, w)),
        parts.section("notice", w["notice"], *parts.notice_part(facts, w)),
        parts.section("decision", w["decision"], *parts.decision_part(facts, w)),
        parts.section("timeline", w["timeline"], parts.timeline_part(facts, w)),
        parts.section("recordings", w["recordings"], *parts.recordings_part(facts, w)),
        parts.section("receipts", w["receipts"], *parts.receipts_part(report.proofs, w)),
        parts.section("check", w["check"], *parts.check_part(report.vkeys, facts, w)),
        parts.section("limits", w["limits"], el("p", w["limits_text"])),
    ]


def _footer(w: Mapping[str, str]) -> Markup:
    return el("footer", el("p", w["footer"].format(version=__version__)))
