# SPDX-License-Identifier: GPL-3.0-or-later
"""A call as stretches of time: when recording was allowed and when not and why, what was kept, notice, conversation.

The stretches of the consent machine come from replaying the logged inputs, as verification does. Pure.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ivr.audit.wording import REASONS
from ivr.consent.errors import InvariantError
from ivr.consent.machines import MACHINES, NEWEST
from ivr.consent.permit import Answer, Verdict, may_record
from ivr.consent.record import RecordError, event_input
from ivr.export.facts import Facts, Recorded, Step


class Kind(StrEnum):
    """What a stretch is. The report has a pattern and a word for each."""

    WAITING = "waiting"
    """Not allowed yet."""
    ALLOWED = "allowed"
    """Everybody was cleared: samples might be kept."""
    BLOCKED = "blocked"
    """Not allowed for a reason that was nobody's wish."""
    REFUSED = "refused"
    """Not allowed: somebody refused, or the flow never records."""
    WITHDRAWN = "withdrawn"
    """Not allowed any more: somebody withdrew."""
    KEPT = "kept"
    """Samples were kept and are there."""
    ERASED = "erased"
    """Samples were kept and have been erased."""
    GAP = "gap"
    """A pause within a recording: no samples."""
    NOTICE = "notice"
    """The notice was spoken."""
    TALK = "talk"
    """The parties heard each other."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """From and to are ms of the call. `why`: in plain words, may be empty."""

    kind: Kind
    from_ms: int
    to_ms: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment: a key, a permit, a decision, a withdrawal."""

    at_ms: int
    what: str
    seq: int


@dataclass(frozen=True, slots=True)
class Lanes:
    """The picture of a call. Stretches of one lane never overlap and are in order."""

    end_ms: int
    consent: tuple[Stretch, ...]
    recorded: tuple[Stretch, ...]
    notice: tuple[Stretch, ...]
    talk: tuple[Stretch, ...]
    marks: tuple[Mark, ...]

    def all(self) -> list[Stretch]:
        """Every stretch, for the table beside the picture."""
        return sorted(
            [*self.notice, *self.consent, *self.talk, *self.recorded], key=lambda s: (s.from_ms, s.to_ms, s.kind)
        )


def lanes(facts: Facts) -> Lanes:
    """The lanes of one call."""
    recorded = [stretch for one in facts.recordings for stretch in _recorded(one, facts)]
    ends = [facts.end_ms, *(stretch.to_ms for stretch in recorded)]
    end = max(ends)
    notice = [
        Stretch(Kind.NOTICE, n.from_ms, end if n.to_ms is None else n.to_ms, n.language if n.whole else "cut short")
        for n in facts.notices
    ]
    return Lanes(
        end,
        tuple(_consent(facts.steps, end)),
        tuple(sorted(recorded, key=lambda s: s.from_ms)),
        tuple(notice),
        tuple(_talk(facts, end)),
        tuple(_marks(facts.steps)),
    )


def _consent(steps: Sequence[Step], end: int) -> Iterable[Stretch]:
    """What the one gate says after each input; the machine is that of the version that decided the call."""
    asked = next((step.data.get("machine") for step in steps if step.type == "consent.asked"), None)
    machine = MACHINES.get(asked if isinstance(asked, int) else NEWEST)
    if machine is None:
        return
    state = machine.initial()
    current: Stretch | None = None
    for step in steps:
        try:
            told = event_input(step.type, step.data)
            if told is None or step.at_ms is None:
                continue
            state, _ = machine.step(state, told, step.at_ms)
        except (RecordError, InvariantError):
            continue  # replay reports it; the picture shows what is certain
        verdict = may_record(state)
        kind, why = _kind(verdict), REASONS.get(verdict.reason, _plain(verdict.reason))
        if current is not None and (kind, why) == (current.kind, current.why):
            continue
        if current is not None and step.at_ms > current.from_ms:
            yield Stretch(current.kind, current.from_ms, step.at_ms, current.why)
        current = Stretch(kind, 0 if current is None else step.at_ms, end, why)
    if current is not None and end > current.from_ms:
        yield current


_NAMED = {"not_asked": "the notice has not been spoken yet", "undecided": "the caller has not decided yet"}


def _plain(reason: str) -> str:
    return _NAMED.get(reason, reason.replace("_", " "))


def _kind(verdict: Verdict) -> Kind:
    if verdict.answer is Answer.YES:
        return Kind.ALLOWED
    if verdict.answer is Answer.WAIT or verdict.reason in ("caller_left", "nobody_to_talk_to"):
        return Kind.WAITING
    if verdict.technical:
        return Kind.BLOCKED
    return Kind.WITHDRAWN if verdict.reason.startswith("withdrawn") else Kind.REFUSED


def _recorded(one: Recorded, facts: Facts) -> Iterable[Stretch]:
    kind = Kind.ERASED if one.erased else Kind.KEPT
    if one.erased and not one.spans and one.stopped_ms is not None:
        # What is erased at once has no account of its samples; that it ran from here to there is logged.
        yield Stretch(kind, one.started_ms, one.stopped_ms, f"recording {one.number}")
    before: int | None = None
    for _, samples, at_ms in one.spans:
        if before is not None and at_ms > before:
            yield Stretch(Kind.GAP, before, at_ms, _pause(facts, before, at_ms))
        before = at_ms + (samples * 1000 // one.rate if one.rate else 0)
        yield Stretch(kind, at_ms, before, f"recording {one.number}")


def _pause(facts: Facts, from_ms: int, to_ms: int) -> str:
    """Why a recording was paused; the log says it when it began."""
    for step in facts.of("recording.paused"):
        if step.at_ms is not None and from_ms - 100 <= step.at_ms <= to_ms:
            reason = str(step.data.get("reason") or "")
            return REASONS.get(reason, reason.replace("_", " "))
    return ""


def _talk(facts: Facts, end: int) -> Iterable[Stretch]:
    since: Step | None = None
    for step in facts.of("bridge.started", "bridge.ended"):
        if step.type == "bridge.started":
            since = step
        elif since is not None:
            yield Stretch(Kind.TALK, since.at_ms or 0, step.at_ms or end, str(since.data.get("party")))
            since = None
    if since is not None:
        yield Stretch(Kind.TALK, since.at_ms or 0, end, str(since.data.get("party")))


_MARKED = {
    "consent.decided": "decided",
    "consent.withdrawn": "withdrawn",
    "recording.permitted": "permit",
    "recording.blocked": "blocked",
}


def _marks(steps: Iterable[Step]) -> Iterable[Mark]:
    for step in steps:
        if step.at_ms is None:
            continue
        if step.type == "consent.signalled":
            yield Mark(step.at_ms, f"key {step.data.get('value')}" if _is_key(step) else "preference", step.seq)
        elif step.type in _MARKED:
            yield Mark(step.at_ms, _MARKED[step.type], step.seq)


def _is_key(step: Step) -> bool:
    return step.data.get("source") in ("dtmf", "info", "inband")
