# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts of one call as every export needs them: its events, each signature checked, and what they add up to.

Only the events of the call are read. That they stand in their place in the log is what the receipts show (proof.py).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from ivr.audit.replay import ReplayReport, replay
from ivr.audit.timeline import headline, sentence
from ivr.consent.policy import Policy, PolicyError
from ivr.export.errors import ExportError, NotTrusted
from ivr.ledger import canonical
from ivr.ledger.event import EventError
from ivr.ledger.keyring import KeyRing
from ivr.ledger.query import ShownEvent

CALLER = "caller"


class _LeftOut(dict[str, Any]):
    """Personal fields that nobody asked for. Not the same as erased ones, and a reader must see which it is."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> str:
        return "(left out)"


LEFT_OUT: Mapping[str, Any] = _LeftOut()


@dataclass(frozen=True, slots=True)
class Known:
    """What the server can still show for the hashes in the log. Nothing of it is believed unless its hash fits.

    `texts`: hex SHA-256 of a spoken text to the text; `settings`: hash of a consent step (`sha256:…`) to its settings.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """One event of the call. `personal` is empty unless personal data was asked for; `erased` counts what is gone."""

    seq: int
    id: str
    time: str
    call: str
    type: str
    data: Mapping[str, Any]
    personal: Mapping[str, Any]
    erased: int
    jws: str
    with_personal: bool = False

    @property
    def at_ms(self) -> int | None:
        """Ms since the call was received; None for events that are about a call, and not of it."""
        value = self.data.get("at_ms")
        return value if type(value) is int else None

    @property
    def sentence(self) -> str:
        """What happened, in words."""
        return sentence(self.type, self.data, self.personal if self.with_personal else LEFT_OUT)


@dataclass(frozen=True, slots=True)
class Asked:
    """The consent step. `settings` is what the notice says and the server enforces; None when it is not at hand."""

    seq: int
    policy: Policy
    policy_sha256: str
    machine: int
    settings: Mapping[str, Any] | None

    def words(self, name: str, language: str | None) -> list[str]:
        """A setting that is text, a list of names, or either by language, as text in this language (or any)."""
        value = (self.settings or {}).get(name)
        items = value if isinstance(value, list) else [] if value is None else [value]
        return [_in_language(item, language) for item in items]


@dataclass(frozen=True, slots=True)
class NoticeSaid:
    """One notice as it was sent. `text` is None when no text with this hash is at hand; `whole`: to its last sample."""

    language: str
    text: str | None
    text_sha256: str
    audio_sha256: str
    seconds: float
    from_ms: int
    to_ms: int | None
    whole: bool


@dataclass(frozen=True, slots=True)
class Recorded:
    """One recording. Spans: (first sample, samples, at_ms). `segments` as logged: n, start, samples, sha256, bytes."""

    id: str
    number: int
    rate: int
    samples: int
    spans: tuple[tuple[int, int, int], ...]
    segments: tuple[Mapping[str, Any], ...]
    reason: str | None
    erased: bool
    started_ms: int
    stopped_ms: int | None

    @property
    def seconds(self) -> float:
        """Length of what was kept."""
        return self.samples / self.rate if self.rate else 0.0


@dataclass(frozen=True, slots=True)
class Facts:
    """One call. `origin` names the log; `with_personal` says whether personal data was asked for."""

    call: str
    origin: str
    steps: tuple[Step, ...]
    headline: str
    received: datetime
    end_ms: int
    asked: Asked | None
    notices: tuple[NoticeSaid, ...]
    recordings: tuple[Recorded, ...]
    replay: ReplayReport
    with_personal: bool

    def of(self, *types: str) -> list[Step]:
        """The events of these types, in order."""
        return [step for step in self.steps if step.type in types]

    def first(self, kind: str) -> Step | None:
        """The first event of a type."""
        return next(iter(self.of(kind)), None)

    def time_at(self, at_ms: int) -> datetime:
        """The wall clock at a time of the call: the ledger's when it was received, and the worker's clock since."""
        return self.received + timedelta(milliseconds=at_ms)

    @property
    def parties(self) -> tuple[str, ...]:
        """Everybody who was on the line: the caller first, agents in the order in which they joined."""
        names = [str(step.data.get("party")) for step in self.of("party.joined")]
        return (CALLER, *dict.fromkeys(name for name in names if name != CALLER))

    @property
    def language(self) -> str | None:
        """The language of the notice."""
        return self.notices[0].language if self.notices else None


def gather(
    events: Iterable[ShownEvent], keys: KeyRing, known: Known | None = None, *, with_personal: bool = False
) -> Facts:
    """The facts of one call from its events in order.

    Raises NotTrusted for an event that the log's key did not sign, ExportError when there is no call.
    """
    steps = tuple(_step(event, keys, with_personal) for event in events)
    if not steps or steps[0].type != "call.received":
        raise ExportError("there is no such call in the log", todo="the ids are listed by: ivr call list")
    known = known or Known()
    times = [step.at_ms for step in steps if step.at_ms is not None]
    return Facts(
        call=steps[0].call,
        origin=keys.first.name,
        steps=steps,
        headline=headline((step.type, step.data) for step in steps),
        received=parse_time(steps[0].time),
        end_ms=max([*times, 1]),
        asked=_asked(steps, known),
        notices=tuple(_notices(steps, known)),
        recordings=tuple(_recordings(steps)),
        replay=replay(steps),
        with_personal=with_personal,
    )


def parse_time(text: str) -> datetime:
    """An event's time."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def rfc3339(when: datetime) -> str:
    """UTC with milliseconds."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _step(event: ShownEvent, keys: KeyRing, with_personal: bool) -> Step:
    try:
        signed = keys.verify(event.jws.encode())
    except EventError as error:
        raise NotTrusted(f"event {event.seq} does not hold: {error}", todo="run: ivr log verify") from None
    if (signed.seq, signed.call, signed.log) != (event.seq, event.call, keys.first.name) or signed.call is None:
        raise NotTrusted(f"event {event.seq} was signed for another place", todo="run: ivr log verify")
    personal = event.personal if with_personal else {}
    # Everything is taken from what was signed, never from the columns beside it.
    return Step(
        signed.seq, signed.id, signed.time, signed.call, signed.type, signed.data, personal, event.erased, event.jws,
        with_personal,
    )  # fmt: skip


def _asked(steps: Sequence[Step], known: Known) -> Asked | None:
    step = next((step for step in steps if step.type == "consent.asked"), None)
    if step is None:
        return None
    try:
        policy = Policy.from_json(step.data["policy"])
    except (KeyError, TypeError, PolicyError) as error:
        raise ExportError(f"event {step.seq}: its policy cannot be read: {error}") from None
    digest = str(step.data.get("policy_sha256"))
    candidates = [step.data.get("settings"), known.settings.get(digest)]
    settings = next((c for c in candidates if isinstance(c, Mapping) and settings_hash(c) == digest), None)
    return Asked(step.seq, policy, digest, int(step.data.get("machine") or 0), settings)


def settings_hash(settings: Mapping[str, Any]) -> str | None:
    """The hash under which the log names the settings of a consent step; None for what is not in its form."""
    try:
        return "sha256:" + hashlib.sha256(canonical.dumps(dict(settings))).hexdigest()
    except canonical.CanonicalError:
        return None


def _notices(steps: Sequence[Step], known: Known) -> Iterable[NoticeSaid]:
    ends = ("notice.completed", "notice.interrupted", "notice.failed")
    for index, step in enumerate(steps):
        if step.type != "notice.started":
            continue
        end = next((later for later in steps[index + 1 :] if later.type in ends), None)
        d = step.data
        text = known.texts.get(str(d.get("text_sha256")))
        if text is not None and hashlib.sha256(text.encode()).hexdigest() != d.get("text_sha256"):
            text = None
        rate = int(d.get("rate") or 0)
        yield NoticeSaid(
            language=str(d.get("language")),
            text=text,
            text_sha256=str(d.get("text_sha256")),
            audio_sha256=str(d.get("audio_sha256")),
            seconds=int(d.get("samples") or 0) / rate if rate else 0.0,
            from_ms=step.at_ms or 0,
            to_ms=end.at_ms if end else None,
            whole=end is not None and end.type == "notice.completed",
        )


def _recordings(steps: Sequence[Step]) -> Iterable[Recorded]:
    erased = {step.data.get("recording") for step in steps if step.type == "recording.erased"}
    seen = set[Any]()
    for step in steps:
        name = step.data.get("recording")
        # A worker that was lost may not have said that it had begun; what it kept was found by the ledger.
        found = step.type == "recording.stopped" and step.data.get("segments")
        if name in seen or (step.type != "recording.started" and not found):
            continue
        seen.add(name)
        own = [other for other in steps if other.data.get("recording") == name]
        stop = next((other for other in own if other.type == "recording.stopped"), None)
        kept = stop.data if stop else {}
        listed = [s for other in own if isinstance(other.data.get("segments"), list) for s in other.data["segments"]]
        yield Recorded(
            id=str(name),
            number=int(step.data.get("number") or 0),
            rate=int(kept.get("rate") or step.data.get("rate") or 0),
            samples=int(kept.get("samples") or 0),
            spans=tuple((int(a), int(b), int(c)) for a, b, c in kept.get("spans") or []),
            segments=tuple(sorted(listed, key=lambda s: int(s["n"]))),
            reason=None if stop is None else str(kept.get("reason") or ""),
            erased=name in erased or kept.get("erased") is True,
            started_ms=step.at_ms or 0,
            stopped_ms=stop.at_ms if stop else None,
        )


def _in_language(item: Any, language: str | None) -> str:
    if isinstance(item, Mapping):
        values = {str(k): str(v) for k, v in item.items()}
        return values.get(language or "") or next(iter(values.values()), "")
    return str(item)
