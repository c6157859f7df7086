# SPDX-License-Identifier: GPL-3.0-or-later
"""Every event type as a sentence that a person can read, and the headline of a call: recorded or not, and why. Pure."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ivr.audit.wording import PARTIES, REASONS, SOURCES

Data = Mapping[str, Any]
_Sentence = Callable[[Data, Data], str]


def sentence(kind: str, data: Data, personal: Data) -> str:
    """What happened, in plain words. `personal` may lack what was erased. An unknown type is named, never left out."""
    words = _SENTENCES.get(kind)
    if words is None:
        return f"{kind}: {_plain(data, personal)}"
    try:
        return words(data, personal)
    except (AttributeError, KeyError, TypeError, ValueError):
        # A field of a form that no program of ours writes: whoever reads the call must see it all the same.
        return f"{kind}: {_plain(data, personal)}"


def headline(events: Iterable[tuple[str, Data]]) -> str:
    """Recorded or not, and why, from the types and data of one call in order."""
    permitted = kept = 0
    why = "the call came to no consent decision"
    ended, erased = "", False
    alone = joined = False
    for kind, data in events:
        if kind == "consent.decided":
            why = f"{_who(data)} {_DECISIONS.get(data.get('decision', ''), 'decided')}"
            alone = data.get("decision") in _ALLOWING
        elif kind == "consent.withdrawn":
            why, alone = f"{_who(data)} withdrew", False
        elif kind == "recording.blocked":
            why, alone = _why(data), False
        elif kind == "party.joined":
            joined = True
        elif kind == "recording.permitted":
            permitted += 1
        elif kind == "recording.started":
            kept += 1
        elif kind == "recording.stopped":
            ended = _why(data)
            # Without a start: its worker was lost before it could say so.
            kept += not kept and bool(data.get("segments"))
            erased |= data.get("erased") is True
        elif kind == "recording.erased":
            erased = True
    if kept and erased:
        return f"RECORDED AND ERASED: {why}"
    if kept:
        return f"RECORDED: {why}" + (f"; it stopped because {ended}" if ended else "; it is running")
    if permitted:
        return f"NOT RECORDED: it was permitted, but no recorder started; {why}"
    if alone and not joined:
        return f"NOT RECORDED: the call reached no agent; {why}"
    return f"NOT RECORDED: {why}"


_ALLOWING = frozenset({"granted", "not_objected", "informed"})

_DECISIONS = {
    "granted": "agreed",
    "refused": "refused",
    "not_objected": "did not object",
    "not_given": "did not agree",
    "informed": "was informed",
}


def _plain(data: Data, _: Data) -> str:
    return ", ".join(f"{name} {value}" for name, value in data.items() if name != "at_ms")


def _who(data: Data) -> str:
    party = str(data.get("party", "somebody"))
    return PARTIES.get(party) or f"agent {party.removeprefix('agent-')}"


def _why(data: Data) -> str:
    reason = str(data.get("reason", "") or "no reason was given")
    return REASONS.get(reason, reason.replace("_", " "))


def _how(data: Data) -> str:
    source = SOURCES.get(str(data.get("source")), str(data.get("source")))
    return f"{source} {data['key']}" if data.get("key") else source


def _named(personal: Data, name: str) -> str:
    return str(personal[name]) if name in personal else "(erased)"


def _paths(data: Data) -> str:
    return ", ".join(data.get("key_paths") or []) or "none"


def _seconds(samples: Any, rate: Any) -> str:
    return f"{samples / rate:.1f} s" if isinstance(samples, int) and isinstance(rate, int) and rate > 0 else "?"


def _int(value: Any) -> int:
    return int(value or 0)


def _sent(data: Data) -> str:
    lost = data.get("packets_lost")
    loss = "" if lost is None else f", {lost} of {data.get('packets_sent')} packets lost on the way"
    return f"{data.get('samples_sent')} samples sent{loss}; keys heard by: {_paths(data)}"


def _signalled(d: Data, _: Data) -> str:
    if d.get("source") in ("operator", "sip:recordpref"):
        return f"{_who(d)} prefers recording {d.get('value')} ({SOURCES[d['source']]})"
    return f"{_who(d)} pressed {d.get('value')} ({SOURCES.get(str(d.get('source')), d.get('source'))})"


def _decided(d: Data, _: Data) -> str:
    basis = f"{d.get('mode')}, lawful basis {str(d.get('lawful_basis')).replace('_', ' ')}"
    return f"{_who(d)} {_DECISIONS.get(str(d.get('decision')), d.get('decision'))} by {_how(d)} ({basis})"


def _stopped(d: Data, _: Data) -> str:
    erased = ", erased at once" if d.get("erased") else ""
    parts = len(d.get("segments") or [])
    return f"recording {d.get('number')} stopped because {_why(d)}: {_kept(d)} in {parts} segments{erased}"


def _kept(d: Data) -> str:
    return f"{_seconds(d.get('samples'), d.get('rate'))} kept"


def _case(d: Data) -> str:
    return f" for case {d['case']}" if d.get("case") else ""


_WAITS: Mapping[str, str] = {
    "notice": "notice",
    "window": "caller's answer",
    "permit": "permit",
    "start": "recorder to start",
    "stop": "recorder to close",
}

_SENTENCES: dict[str, _Sentence] = {
    # -- the call --
    "call.received": lambda d, p: (
        f"call from {_named(p, 'caller')} to {_named(p, 'dialled')}, flow {d.get('flow')}, taken by {d.get('worker')}"
    ),
    "call.answered": lambda d, _: f"answered with {d.get('codec')}; keys can be heard by: {_paths(d)}",
    "call.ended": lambda d, _: f"call over, {d.get('outcome')}: {_why(d)}",
    "call.lost": lambda d, _: f"call lost: {_why(d)}",
    "leg.held": lambda d, _: f"{_who(d)} put the call on hold",
    "leg.resumed": lambda d, _: f"{_who(d)} took the call off hold",
    "leg.renegotiated": lambda d, _: f"{_who(d)} changed the media; keys can be heard by: {_paths(d)}",
    "party.joined": lambda d, p: f"{_who(d)} is on the line, {_named(p, 'address')}",
    "party.left": lambda d, _: f"{_who(d)} left: {_why(d)}",
    # -- notice and consent --
    "consent.asked": lambda d, _: (
        f"consent step, mode {(d.get('policy') or {}).get('mode')}, machine {d.get('machine')}"
    ),
    "notice.started": lambda d, _: (
        f"the recording notice begins, {d.get('language')}, {_seconds(d.get('samples'), d.get('rate'))}"
    ),
    "notice.completed": lambda d, _: f"the notice was sent to its last sample: {_sent(d)}",
    "notice.interrupted": lambda d, _: f"the notice was cut short because {_why(d)}: {_sent(d)}",
    "notice.failed": lambda d, _: f"the notice could not be played: {_why(d)}",
    "consent.signalled": _signalled,
    "consent.timed_out": lambda d, _: f"the wait for the {_WAITS.get(str(d.get('timer')), d.get('timer'))} ended",
    "consent.faulted": lambda d, _: f"what the server knew contradicted itself, so nothing is recorded: {_why(d)}",
    "ledger.unreachable": lambda d, _: f"the ledger could not be reached: {_why(d)}",
    "consent.decided": _decided,
    "consent.withdrawn": lambda d, _: f"{_who(d)} withdrew by {_how(d)}",
    "agent.informed": lambda d, _: f"{_who(d)} was told that the call is {'' if d.get('recorded') else 'not '}recorded",
    "agent.not_informed": lambda d, _: f"{_who(d)} was not told to the end: {_why(d)}",
    # -- recording --
    "recording.permitted": lambda d, _: (
        f"recording {d.get('number')} permitted for {', '.join(_who({'party': p}) for p in d.get('parties') or [])}"
    ),
    "recording.armed": lambda d, _: (
        f"permit {d.get('number')} is durable and signed, after {_int(d.get('waited_us')) / 1000:.1f} ms"
    ),
    "recording.blocked": lambda d, _: f"not recorded: {_why(d)}",
    "recording.started": lambda d, _: f"recording {d.get('number')} runs, sealed to {d.get('recipient')}",
    "recording.paused": lambda d, _: f"recording {d.get('number')} paused: {_why(d)}",
    "recording.resumed": lambda d, _: f"recording {d.get('number')} goes on",
    "recording.sealed": lambda d, _: (
        f"{len(d.get('segments') or [])} segments of recording {d.get('number')} are sealed"
    ),
    "recording.stopped": _stopped,
    "recording.failed": lambda d, _: f"recording {d.get('number')} failed: {_why(d)}",
    "recording.accessed": lambda d, p: f"{_named(p, 'who')} opened a recording: {d.get('why')}",
    "recording.exported": lambda d, p: f"{_named(p, 'who')} exported a recording as {d.get('format')}: {d.get('why')}",
    "recording.erased": lambda d, _: f"key and {d.get('segments')} files of a recording erased: {_why(d)}",
    "recording.not_erased": lambda d, _: f"a recording was to be erased, and the storage refused: {d.get('error')}",
    # -- bridge --
    "bridge.started": lambda d, _: f"caller and {_who(d)} hear each other ({d.get('codec')})",
    "bridge.failed": lambda d, _: f"target {d.get('target')} did not take the call: {d.get('status')}, {_why(d)}",
    "bridge.ended": lambda d, _: (
        f"caller and {_who(d)} no longer hear each other, after {_int(d.get('duration_ms')) / 1000:.1f} s: {_why(d)}"
    ),
    # -- the node --
    "log.created": lambda d, _: f"the log {d.get('origin')} begins",
    "policy.adopted": lambda d, p: f"flows {', '.join(d.get('flows') or [])} in force, adopted by {_named(p, 'by')}",
    "key.added": lambda d, _: f"signing key {d.get('kid')} in force",
    "key.retired": lambda d, _: f"signing key {d.get('kid')} no longer used",
    "node.started": lambda d, _: f"ledger started, version {d.get('version')}",
    "worker.joined": lambda d, _: f"{d.get('worker')} connected",
    "worker.left": lambda d, _: f"{d.get('worker')} disconnected; calls lost: {d.get('calls_lost')}",
    "node.draining": lambda d, _: f"no new calls are taken: {_why(d)}",
    "node.stopped": lambda d, _: f"ledger stopped in order: {_why(d)}",
    "node.clock_stepped": lambda d, _: f"the clock jumped by {_int(d.get('step_us')) / 1_000_000:+.3f} s",
    "retention.applied": lambda d, _: (
        f"retention {d.get('rule')}: {d.get('recordings')} recordings and {_int(d.get('fields'))} personal fields gone"
    ),
    # -- rights --
    "reference.made": lambda d, _: f"a reference code of {d.get('digits')} digits was made for the caller",
    "reference.spoken": lambda d, _: f"the reference code was spoken, begun {d.get('times')} times",
    "reference.tried": lambda d, p: (
        f"{_named(p, 'who')} looked up a reference code: {'found' if d.get('found') else 'not found'}"
    ),
    "hold.placed": lambda d, p: f"{_named(p, 'who')} placed a legal hold{_case(d)}: {d.get('why')}",
    "hold.lifted": lambda d, p: f"{_named(p, 'who')} lifted a legal hold: {d.get('why')}",
    "subject.request.opened": lambda d, p: (
        f"{_named(p, 'who')} took in a request for {d.get('kind')}, to be answered by {d.get('due')}"
    ),
    "subject.request.packaged": lambda d, p: (
        f"{_named(p, 'who')} put a person's data together: {d.get('calls')} calls, "
        f"{len(d.get('recordings') or [])} recordings; {d.get('why')}"
    ),
    "subject.request.closed": lambda d, p: (
        f"{_named(p, 'who')} closed a request, {d.get('outcome')}{', late' if d.get('late') else ''}: {d.get('why')}"
    ),
    "subject.erased": lambda d, p: (
        f"{_named(p, 'who')} erased {d.get('fields')} personal fields and {len(d.get('recordings') or [])} recordings "
        f"({d.get('scope')}): {d.get('why')}"
    ),
}

KNOWN = frozenset(_SENTENCES)
"""The event types that have a sentence."""
