# SPDX-License-Identifier: GPL-3.0-or-later
"""The sections of the report, each from the facts of the call and nothing else."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from ivr.consent.policy import LawfulBasis, Mode
from ivr.export.facts import Asked, Facts, NoticeSaid, Recorded, Step
from ivr.export.markup import Markup, el, join
from ivr.export.picture import clock, picture, swatch
from ivr.export.proof import Proof
from ivr.export.stretches import Kind, Lanes
from ivr.export.waveform import Waveform

Words = Mapping[str, str]
SEGMENTS_OPEN = 12
"""More segments than this are folded away on the screen."""


def section(ident: str, title: str, *children: str | Markup) -> Markup:
    """A part of the page with its heading."""
    return el("section", el("h2", title, id=f"h-{ident}"), *children, id=ident, aria_labelledby=f"h-{ident}")


def fact_list(rows: Iterable[tuple[str, str | Markup]]) -> Markup:
    """Names and values."""
    return el("dl", *(join(el("dt", name), el("dd", value)) for name, value in rows), class_="facts")


def table(head: Sequence[str], rows: Iterable[Sequence[str | Markup]], caption: str = "", numbers: int = 0) -> Markup:
    """A table whose first `numbers` columns are figures. On a narrow screen each row becomes a paragraph."""
    classes = ["num" if n < numbers else None for n in range(len(head))]
    body = [
        el("tr", *(el("td", cell, class_=classes[n], data_label=head[n]) for n, cell in enumerate(row))) for row in rows
    ]
    return el(
        "table",
        el("caption", caption) if caption else None,
        el("thead", el("tr", *(el("th", name, scope="col", class_=classes[n]) for n, name in enumerate(head)))),
        el("tbody", *body),
        class_="wide",
    )


def when(time: datetime) -> str:
    """`2026-01-02 12:15:30 UTC`."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def seconds(value: float) -> str:
    """`4.0 s` or `2:05 min`."""
    return f"{value:.1f} s" if value < 60 else f"{int(value // 60)}:{int(value % 60):02} min"


def people(facts: Facts, w: Words) -> list[tuple[str, str | Markup]]:
    """Who was on the line, as far as the report may say."""
    if not facts.with_personal:
        return [(w["people"], el("span", w["no_personal"], class_="muted"))]
    first = facts.steps[0].personal
    rows: list[tuple[str, str | Markup]] = [
        (w["caller"], _personal(first.get("caller"), w)),
        (w["dialled"], _personal(first.get("dialled"), w)),
    ]
    for step in facts.of("party.joined"):
        if step.data.get("party") != "caller":
            rows.append((w["agent"], _personal(step.personal.get("address"), w)))
    return rows


def _personal(value: object, w: Words) -> str | Markup:
    return str(value) if value is not None else el("span", w["erased_field"], class_="muted")


# -- the picture -----------------------------------------------------------------------------------------------------


def picture_part(lanes: Lanes, waveform: Waveform | None, facts: Facts, w: Words) -> list[Markup]:
    """The picture with its legend, and the same as a table."""
    kinds = {stretch.kind for stretch in lanes.all()}
    note = "" if waveform else w["no_waveform"] if any(_kept(one) for one in facts.recordings) else w["no_recording"]
    legend = [el("li", swatch(kind), w[f"kind_{kind}"]) for kind in Kind if kind in kinds]
    figure = el(
        "figure",
        el(
            "div",
            picture(lanes, waveform, w),
            class_="scroll",
            tabindex=0,
            role="region",
            aria_label=w["picture_scroll"],
        ),
        el("p", w["scroll_hint"], class_="hint", aria_hidden="true"),
        el("figcaption", el("ul", *legend, class_="legend", aria_label=w["legend"])),
    )
    rows = [(clock(s.from_ms, fine=True), clock(s.to_ms, fine=True), w[f"kind_{s.kind}"], s.why) for s in lanes.all()]
    head = (w["from"], w["to"], w["what"], w["why"])
    return [figure, *([el("p", note, class_="muted")] if note else []), table(head, rows, numbers=2), *_marks(lanes, w)]


def _marks(lanes: Lanes, w: Words) -> list[Markup]:
    if not lanes.marks:
        return []
    rows = [(str(n), clock(mark.at_ms, fine=True), mark.what, str(mark.seq)) for n, mark in enumerate(lanes.marks, 1)]
    head = (w["number"], w["offset"], w["what"], w["event"])
    return [el("h3", w["marks"]), table(head, rows, numbers=2)]


def _kept(one: Recorded) -> bool:
    return bool(one.spans) and not one.erased


# -- notice and decision ---------------------------------------------------------------------------------------------


def notice_part(facts: Facts, w: Words) -> list[Markup]:
    """The words as spoken, only when their hash is the one in the log."""
    if not facts.notices:
        return [el("p", w["notice_none"])]
    return [part for notice in facts.notices for part in _notice(notice, w)]


def _notice(notice: NoticeSaid, w: Words) -> list[Markup]:
    rows: list[tuple[str, str | Markup]] = [
        (w["sent"], w["notice_whole"] if notice.whole else w["notice_cut"]),
        (w["language"], notice.language),
        (w["length"], seconds(notice.seconds)),
        (w["text_sha256"], el("span", notice.text_sha256, class_="mono")),
        (w["audio_sha256"], el("span", notice.audio_sha256, class_="mono")),
    ]
    said = [el("p", w["notice_no_text"])]
    if notice.text is not None:
        said = [
            el("blockquote", el("p", notice.text), lang=notice.language),
            el("p", w["notice_fits"], class_="muted"),
        ]
    return [*said, fact_list(rows)]


def decision_part(facts: Facts, w: Words) -> list[Markup]:
    """What was in force, what was decided, and whether that follows from what was logged."""
    replayed = _replayed(facts, w)
    if facts.asked is None:
        return [el("p", w["no_consent"]), *replayed]
    decided = [
        el("li", f"{clock(step.at_ms or 0, fine=True)} — {_sentence(step)}")
        for step in facts.of(
            "consent.decided", "consent.withdrawn", "recording.permitted", "recording.blocked", "recording.stopped"
        )
    ]
    return [
        *replayed,
        el("h3", w["decided"]),
        el("ul", *decided, class_="plain"),
        el("h3", w["policy"]),
        fact_list(_policy(facts.asked, facts.language, w)),
    ]


def _replayed(facts: Facts, w: Words) -> list[Markup]:
    report = facts.replay
    machine = facts.asked.machine if facts.asked else 0
    if report.holds:
        text = w["replay_holds_text"].format(inputs=report.inputs, decisions=report.decisions, machine=machine or "1")
        mark = el("span", f"✓ {w['replay_holds']}", class_="badge good")
        return [el("p", f"{w['replay']}: ", mark), el("p", text)]
    found = [el("li", str(difference)) for difference in report.differences]
    mark = el("span", f"✗ {w['replay_differs']}", class_="badge bad")
    return [el("p", f"{w['replay']}: ", mark), el("p", w["replay_differs_text"]), el("ul", *found, class_="plain")]


def _policy(asked: Asked, language: str | None, w: Words) -> list[tuple[str, str | Markup]]:
    policy = asked.policy
    basis: str | Markup = policy.lawful_basis.value.replace("_", " ")
    if policy.mode is Mode.OPT_OUT and policy.lawful_basis is not LawfulBasis.CONSENT:
        basis = join(basis, ". ", el("span", w["not_consent"], class_="muted"))
    keys = [(w["key_refuse"], policy.refuse_key), (w["key_accept"], policy.accept_key)]
    keys.append((w["key_withdraw"], policy.withdraw_key))
    rows: list[tuple[str, str | Markup]] = [
        (w["mode"], f"{policy.mode.value.replace('_', '-')}: {w[f'mode_{policy.mode.value}']}"),
        (w["basis"], basis),
        (w["keys"], ", ".join(f"{key} {name}" for name, key in keys if key) or "—"),
    ]
    if policy.withdraw_key:
        rows.append((w["on_withdraw"], w[f"on_withdraw_{policy.on_withdraw.value}"]))
    named = {"controller": "controller", "purposes": "purposes", "retention": "retention"}
    named |= {"place": "storage_place", "access": "access"}
    if asked.settings is None:
        rows.append(("", el("span", w["no_settings"], class_="muted")))
    else:
        said = {name: ", ".join(asked.words(setting, language)).replace("_", " ") for name, setting in named.items()}
        rows += [(w[name], text) for name, text in said.items() if text]
    return [*rows, (w["policy_sha256"], el("span", asked.policy_sha256, class_="mono"))]


# -- timeline, recordings, receipts ----------------------------------------------------------------------------------


def timeline_part(facts: Facts, w: Words) -> Markup:
    """Every event of the call as a sentence."""
    rows = [
        (step.time[11:23], "" if step.at_ms is None else f"+{step.at_ms / 1000:.3f}", _sentence(step), str(step.seq))
        for step in facts.steps
    ]
    return table((w["time"], w["offset"], w["event"], w["number"]), rows, caption=when(facts.received)[:10], numbers=2)


def _sentence(step: Step) -> str:
    text = step.sentence
    return text[:1].upper() + text[1:]


def recordings_part(facts: Facts, w: Words) -> list[Markup]:
    """Each recording with the hash of every sealed file."""
    if not facts.recordings:
        return [el("p", w["recordings_none"])]
    return [part for one in facts.recordings for part in _recording(one, w)]


def _recording(one: Recorded, w: Words) -> list[Markup]:
    state = w["state_erased"] if one.erased else w["state_running"] if one.reason is None else w["state_kept"]
    spans = "; ".join(
        f"{clock(at, fine=True)}–{clock(at + (n * 1000 // one.rate if one.rate else 0), fine=True)}"
        for _, n, at in one.spans
    )
    rows: list[tuple[str, str | Markup]] = [
        (w["recording"], el("span", one.id, class_="mono")),
        (w["state"], state),
        (w["length"], f"{seconds(one.seconds)}, {one.samples} × 2 @ {one.rate} Hz"),
        (w["spans"], spans or "—"),
    ]
    head = (w["segment"], w["samples"], w["bytes"], w["sha256"])
    cells = [
        (str(s["n"]), str(s["samples"]), str(s["bytes"]), el("span", str(s["sha256"]), class_="mono"))
        for s in one.segments
    ]
    segments = table(head, cells, caption=w["segments"], numbers=3) if cells else join()
    if len(cells) > SEGMENTS_OPEN:
        segments = el("details", el("summary", f"{w['segments']}: {len(cells)}"), segments)
    return [el("h3", f"{w['recording']} {one.number}"), fact_list(rows), segments]


def receipts_part(found: Sequence[Proof], w: Words) -> list[Markup]:
    """Each receipt as text, and as a file to save."""
    return [el("p", w["receipts_text"]), *(_receipt(proof, w) for proof in found)]


def _receipt(proof: Proof, w: Words) -> Markup:
    step = proof.step
    title = f"{w['event']} {step.seq}: {_sentence(step)}"
    if proof.receipt is None:
        return el("details", el("summary", title), el("p", f"{w['receipt_none']}: {proof.why_none}"))
    inline = base64.b64encode(proof.receipt.encode()).decode()
    return el(
        "details",
        el("summary", title),
        el("p", el("a", w["receipt_save"], href=f"data:application/octet-stream;base64,{inline}",
                   download=f"{step.seq}.tlog-proof"), class_="screen"),
        el("pre", proof.receipt),
    )  # fmt: skip


def check_part(vkeys: Sequence[str], facts: Facts, w: Words) -> list[Markup]:
    """What to type."""
    return [
        el("p", w["check_key"]),
        el("pre", "\n".join(vkeys)),
        el("p", w["check_receipt"]),
        el("pre", "ivr log check-receipt FILE.tlog-proof --vkey KEY"),
        el("p", w["check_log"]),
        el(
            "pre",
            f"ivr log verify --db log.sqlite --vkey KEY\nivr log replay --db log.sqlite --vkey KEY\n"
            f"ivr call show {facts.call} --db log.sqlite",
        ),
        el("p", w["check_files"]),
        el("pre", f"sha256sum recordings/{facts.call}/*/*.age"),
        el("p", w["check_hand"]),
    ]
