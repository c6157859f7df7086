# SPDX-License-Identifier: GPL-3.0-or-later
"""The recording notice: facts from the enforced settings, words from the template. Pure.

What cannot be said is an error, never left out (promise 11). Words are hashed as they are given to the engine.
"""

import hashlib
from dataclasses import dataclass

from ivr.consent.policy import Mode, OnWithdraw
from ivr.flow.consent_step import Consent
from ivr.flow.duration import Period
from ivr.flow.place import nearest, one_of
from ivr.flow.templates import Template, Wordings, fill
from ivr.flow.values import Term

_SAID_UNLESS_NEVER = ("controller", "purposes", "retention", "storage_place", "access")


class NoticeError(ValueError):
    """A notice that cannot be said as it must be. `missing`: the facts by the name of their setting."""

    def __init__(self, missing: dict[str, str]) -> None:
        self.missing = missing
        super().__init__("; ".join(missing.values()))


@dataclass(frozen=True, slots=True)
class NoticeFacts:
    """What a notice must say. Keys are None where the mode has none; `on_withdraw` where nothing withdraws."""

    language: str
    mode: Mode
    controller: str | None = None
    purposes: tuple[Term, ...] = ()
    retention: Period | None = None
    storage_place: str | None = None
    access: tuple[Term, ...] = ()
    refuse_key: str | None = None
    accept_key: str | None = None
    withdraw_key: str | None = None
    on_withdraw: OnWithdraw | None = None


@dataclass(frozen=True, slots=True)
class NoticeText:
    """A complete notice. `sha256`: hex digest of the text in UTF-8. Only this module makes one."""

    language: str
    text: str
    sha256: str
    facts: NoticeFacts


def facts_of(consent: Consent, language: str) -> NoticeFacts:
    """The facts of a consent step in the words of `language`. Raises NoticeError for a fact not given in it."""
    storage = consent.storage.place if consent.storage else None
    facts = NoticeFacts(
        language=language,
        mode=consent.mode,
        controller=consent.controller.get(language) if consent.controller else None,
        purposes=consent.purposes,
        retention=consent.retention,
        storage_place=storage.get(language) if storage else None,
        access=consent.access,
        refuse_key=consent.keys.refuse,
        accept_key=consent.keys.accept,
        withdraw_key=consent.withdraw_key,
        on_withdraw=consent.on_withdraw,
    )
    _refuse_gaps(facts)
    return facts


def render_notice(facts: NoticeFacts, template: Template) -> NoticeText:
    """The notice that the template says. Raises NoticeError for a missing fact or a name without a phrase."""
    said = _wordings(facts, template)
    values = {name: words[0] for name, words in said.items() if name not in ("purposes", "access")}
    for name in ("purposes", "access"):
        values[name] = template.joined(tuple(words[0] for at, words in said.items() if at.startswith(f"{name}.")))
    same = facts.refuse_key == facts.withdraw_key
    refusal = template.refusal.same_key if same else template.refusal.other_key
    answer = template.answer.accept if facts.refuse_key is None else template.answer.accept_or_refuse
    way_out = template.way_out.hang_up if facts.refuse_key is None else template.way_out.key
    clauses = {Mode.OPT_OUT: ("refusal", refusal), Mode.OPT_IN: ("answer", answer), Mode.REQUIRED: ("way_out", way_out)}
    if facts.mode in clauses:
        name, clause = clauses[facts.mode]
        values[name] = fill(clause, values)
    return _notice(facts, fill(template.text(facts.mode), values))


def recorded_notice(facts: NoticeFacts, template: Template, transcript: str) -> NoticeText:
    """A recorded notice, accepted only when its declared transcript says every fact in one of its wordings.

    Raises NoticeError naming each fact that it leaves out. That the file says what the transcript does, no program
    can tell; the flow's author declares it, and both hashes go into the log.
    """
    words = _words(transcript)
    needed = _wordings(facts, template) | {"recording": template.recording}
    if facts.withdraw_key is not None:
        needed["any_time"] = template.any_time
    missing = {
        name: f"the transcript does not say {_LABEL[name.partition('.')[0]]}: expected {one_of(map(repr, ways))}"
        for name, ways in needed.items()
        if not any(_says(words, _words(way)) for way in ways)
    }
    if missing:
        raise NoticeError(missing)
    return _notice(facts, transcript)


_LABEL = {
    "controller": "who is responsible",
    "purposes": "a purpose",
    "retention": "how long recordings are kept",
    "place": "where they are kept",
    "access": "who may listen",
    "refuse_key": "the key that refuses",
    "accept_key": "the key that agrees",
    "withdraw_key": "the key that withdraws",
    "withdrawn": "what becomes of what was recorded before a withdrawal",
    "recording": "that this is about recording",
    "any_time": "that the key works at any time during the call",
}


def _refuse_gaps(facts: NoticeFacts) -> None:
    missing = {}
    if facts.mode is not Mode.NEVER:
        for name in _SAID_UNLESS_NEVER:
            if not getattr(facts, name):
                missing[name] = f"`{name}` is not given in {facts.language}: a notice must say it"
    needed_keys = {Mode.OPT_OUT: ("refuse_key", "withdraw_key"), Mode.OPT_IN: ("accept_key", "withdraw_key")}
    for name in needed_keys.get(facts.mode, ()):
        if getattr(facts, name) is None:
            missing[name] = f"mode {facts.mode} has no {name}: a notice must say it"
    if facts.withdraw_key is not None and facts.on_withdraw is None:
        missing["on_withdraw"] = "`on_withdraw` is not set: a notice must say what becomes of what was recorded"
    if missing:
        raise NoticeError(missing)


def _wordings(facts: NoticeFacts, template: Template) -> dict[str, Wordings]:
    """Every fact by the name of its placeholder (`purposes.0` for the items of a list), first wording first."""
    _refuse_gaps(facts)
    said: dict[str, Wordings] = {}
    missing: dict[str, str] = {}
    if facts.mode is Mode.NEVER:
        return said
    if facts.controller and facts.storage_place and facts.retention:
        said["controller"] = (facts.controller,)
        said["place"] = (facts.storage_place,)
        said["retention"] = template.duration(facts.retention.count, facts.retention.unit)
    for name, terms, known in (
        ("purposes", facts.purposes, template.purposes),
        ("access", facts.access, template.access),
    ):
        for index, term in enumerate(terms):
            ways = _term(term, facts.language, known)
            if isinstance(ways, str):
                missing[f"{name}.{index}"] = ways
            else:
                said[f"{name}.{index}"] = ways
    for name in ("refuse_key", "accept_key", "withdraw_key"):
        key: str | None = getattr(facts, name)
        if key is not None:
            said[name] = template.keys[key]
    if facts.on_withdraw is not None:
        said["withdrawn"] = template.wordings(facts.on_withdraw)
    if missing:
        raise NoticeError(missing)
    return said


def _term(term: Term, language: str, known: dict[str, Wordings]) -> Wordings | str:
    """The wordings of a purpose or listener, or what is wrong with it."""
    if term.phrases is not None:
        phrase = term.phrases.get(language)
        return (phrase,) if phrase else f"a phrase is not given in {language}: {term.as_json()}"
    name = term.name or ""
    if name in known:
        return known[name]
    near = nearest(name, known)
    hint = f" (did you mean {near!r}?)" if near else ""
    expected = f"{one_of(sorted(known))}, or a mapping of language to phrase"
    return f"{name!r} has no phrase in {language}{hint}: expected {expected}"


def _notice(facts: NoticeFacts, text: str) -> NoticeText:
    # One space between words: the same words must not get two hashes because a file was wrapped elsewhere.
    plain = " ".join(text.split())
    return NoticeText(facts.language, plain, hashlib.sha256(plain.encode()).hexdigest(), facts)


def _words(text: str) -> tuple[str, ...]:
    kept = "".join(sign if sign.isalnum() else " " for sign in text.casefold())
    return tuple(kept.split())


def _says(words: tuple[str, ...], phrase: tuple[str, ...]) -> bool:
    """Whether the words hold the phrase as whole words in its order: `9` is not said by `90 days`."""
    size = len(phrase)
    return size > 0 and any(words[at : at + size] == phrase for at in range(len(words) - size + 1))
