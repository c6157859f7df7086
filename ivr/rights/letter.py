# SPDX-License-Identifier: GPL-3.0-or-later
"""The letter: what is kept about somebody, in sentences. Pure."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from ivr.flow.library import Library, UnknownPrompt
from ivr.ledger.query import ShownEvent
from ivr.rights.retention import Clocks
from ivr.rights.texts import Texts
from ivr.rights.view import Call, Recording, Request, View, parse_time

_ANY = "*"
WIDTH = 88


@dataclass(frozen=True, slots=True)
class Facts:
    """What the letter needs beside the calls."""

    texts: Texts
    library: Library
    request: Request
    made: date
    clocks: Clocks
    vkey: str


def letter(own: Sequence[Call], named: Sequence[tuple[ShownEvent, str]], view: View, facts: Facts, form: str) -> str:
    """The whole letter as plain text."""
    t, clocks = facts.texts, facts.clocks
    intro = t.say("intro", made=facts.made, request=facts.request.id, received=facts.request.received)
    blocks = [t.title.upper(), intro, _heading(t.calls)]
    blocks += [_call(call, view, facts, form) for call in own]
    blocks += [t.say("mentioned", **_when(event.time)) for event, _ in named]
    if not own and not named:
        blocks.append(t.no_calls)
    kept = [t.say("kept_personal", personal=clocks.personal), t.say("kept_evidence", evidence=clocks.evidence)]
    blocks += [_heading(t.kept), *kept, t.kept_log, t.withheld]
    blocks += [_heading(t.listened), *(_listened(own, view, t) or [t.listened_nobody])]
    blocks += [_heading(t.rights), t.rights_text, _heading(t.check), t.say("check_text", vkey=facts.vkey)]
    return "\n\n".join(_wrapped(block) for block in blocks) + "\n"


def audio_name(one: Recording, form: str) -> str:
    """Where a recording is in the package."""
    return f"recordings/{one.started[:10]}-{one.id}.{form}"


def _call(call: Call, view: View, facts: Facts, form: str) -> str:
    t = facts.texts
    dialled = call.received.personal.get("dialled") or t.hidden_number
    parts = [t.say("call", **_when(call.received.time), dialled=dialled)]
    settings = call.settings
    if settings.get("controller"):
        parts.append(t.say("controller", controller=_local(settings["controller"], t.language)))
        parts.append(
            t.say(
                "basis",
                basis=t.lawful_basis.get(str(settings.get("lawful_basis")), str(settings.get("lawful_basis"))),
                purposes=_terms(settings.get("purposes"), facts, "purposes"),
                access=_terms(settings.get("access"), facts, "access"),
                place=_local(settings.get("storage_place"), t.language),
            )
        )
    parts += [t.say("decision", decision=decision) for decision in _decisions(call, t)]
    recordings = [_recording(one, call, view, facts, form) for one in call.recordings if one.stopped]
    return " ".join(parts + (recordings or [t.not_recorded]))


def _recording(one: Recording, call: Call, view: View, facts: Facts, form: str) -> str:
    t, seconds = facts.texts, round(one.seconds)
    if one.erased is not None or one.stopped is None:
        return t.say("recording_erased", seconds=seconds)
    days = facts.clocks.recordings if call.retention_days is None else call.retention_days
    until = parse_time(one.stopped).date() + timedelta(days=days)
    said = t.say("recording", seconds=seconds, file=audio_name(one, form), until=until, days=days)
    return f"{said} {t.recording_held}" if call.id in view.covered else said


def _decisions(call: Call, t: Texts) -> Iterator[str]:
    for event in call.decisions:
        if event.data.get("party") == "caller":
            name = "withdrawn" if event.type == "consent.withdrawn" else str(event.data.get("decision"))
            yield t.decisions.get(name, name)


def _listened(own: Sequence[Call], view: View, t: Texts) -> list[str]:
    recordings = {one.id for call in own for one in call.recordings}
    return [
        t.say("listened_line", **_when(event.time), who=event.personal.get("who", "?"), why=event.data.get("why"))
        for event in view.listened
        if str(event.data.get("recording")) in recordings
    ]


def _when(time: str) -> dict[str, str]:
    return {"day": time[:10], "time": time[11:16]}


def _local(value: Any, language: str) -> str:
    """Text by language, as settings have it."""
    if not isinstance(value, Mapping) or not value:
        return str(value or "-")
    for code in (language, language.partition("-")[0], _ANY):
        if code in value:
            return str(value[code])
    return str(next(iter(value.values())))


def _terms(values: Any, facts: Facts, group: str) -> str:
    """Names as the notice says them, and phrases as they are."""
    language = facts.texts.language
    words: list[str] = []
    for value in values if isinstance(values, list) else ():
        try:
            phrases = getattr(facts.library.template(language), group).get(value) if isinstance(value, str) else None
        except UnknownPrompt:
            phrases = None
        words.append(str(phrases[0]) if phrases else _local(value, language))
    return ", ".join(words) or "-"


def _heading(text: str) -> str:
    return f"{text}\n{'=' * len(text)}"


def _wrapped(block: str) -> str:
    return "\n".join(textwrap.fill(line, WIDTH) for line in block.splitlines())
