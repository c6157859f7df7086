# SPDX-License-Identifier: GPL-3.0-or-later
"""The log for people: events of a call with what is still known of persons, and a list of calls. Read only.

Nothing here is proof: signatures are not looked at. `ivr log verify` does that.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from ivr.ledger.database import Database
from ivr.ledger.errors import LedgerMissing
from ivr.ledger.event import EventError, parse_disclosure, peek
from ivr.ledger.reading import ReadError, open_reading
from ivr.ledger.sealed import PREFIX, FieldOpener

_FIELDS = "SELECT e.seq, e.jws, d.text FROM events e LEFT JOIN disclosures d ON d.seq = e.seq"
_ORDER = " ORDER BY e.seq, d.name"

_PART = re.compile("[0-9a-f-]+")
"""What an id may begin or end with; nothing in it means more to LIKE."""

SEVERAL = 6
"""Of several calls whose ids begin or end alike, one less is named."""


@dataclass(frozen=True, slots=True)
class ShownEvent:
    """An event as shown. `erased` counts the personal fields that are gone, or sealed to whoever reads."""

    seq: int
    id: str
    time: str
    call: str | None
    type: str
    data: Mapping[str, Any]
    personal: Mapping[str, Any]
    erased: int
    jws: str

    def as_json(self) -> dict[str, Any]:
        """For programs; `jws` lets them check it."""
        return {name: getattr(self, name) for name in self.__slots__}


class KeptField(NamedTuple):
    """A personal field that is still stored, and the event that it belongs to."""

    seq: int
    name: str
    type: str
    call: str | None
    time: str


@dataclass(frozen=True, slots=True)
class CallSummary:
    """One line of the list of calls. Times as in the events; None while the call is up."""

    call: str
    received: str
    ended: str | None
    flow: str
    caller: str | None
    dialled: str | None
    outcome: str
    recorded: bool
    events: int

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {name: getattr(self, name) for name in self.__slots__}


class LogReader:
    """An open log. A context manager; sees what was durable when each question was asked."""

    def __init__(self, place: Database, opener: FieldOpener | None = None) -> None:
        """Without `opener`, sealed personal fields count as erased. Raises LedgerMissing."""
        self._open = opener.open if opener else _plain
        self._opener = opener
        self._place = place
        if isinstance(place, Path) and not place.is_file():
            raise LedgerMissing(f"the log {place} is not there; it is made once with: ivr init DIR")
        try:
            self._db = open_reading(place, snapshot=False)
        except ReadError as error:
            raise LedgerMissing(f"{place} cannot be read as a log: {error}") from None

    def __enter__(self) -> "LogReader":
        return self

    def __exit__(self, *_: object) -> None:
        """The opener is closed as well: it was given away."""
        self._db.close()
        if self._opener is not None:
            self._opener.close()

    def events(self, call: str | None = None, *, since: int = 0) -> Iterator[ShownEvent]:
        """All events, or those of one call, from `since` on, in order. Raises EventError for one that is no event."""
        where = " WHERE e.seq >= ?" + (" AND e.call = ?" if call else "")
        yield from self._shown(where, (since, call) if call else (since,), one_call=call is not None)

    def of_types(self, types: Sequence[str]) -> Iterator[ShownEvent]:
        """The events of these types, in order."""
        yield from self._shown(f" WHERE e.type IN ({','.join('?' * len(types))})", types)

    def disclosures(self, seq: int) -> dict[str, str]:
        """The disclosures of an event by name, as an SD-JWT presents them; those that cannot be read are left out."""
        rows = self._all("SELECT name, text FROM disclosures WHERE seq = ? ORDER BY name", (seq,))
        return {str(name): text for name, stored in rows if (text := self._open(stored)) is not None}

    def fields(self) -> Iterator[KeptField]:
        """Every personal field that is still stored, whether it can be read here or not."""
        query = "SELECT e.seq, d.name, e.type, e.call, e.time FROM disclosures d JOIN events e ON e.seq = d.seq"
        yield from map(KeptField._make, self._each(query + " ORDER BY e.seq, d.name", ()))

    def sharing(self, seqs: Sequence[int]) -> list[tuple[int, str | None]]:
        """(event, call) of everything that names somebody whom one of these events names."""
        query = (
            "SELECT DISTINCT e.seq, e.call FROM pseudonyms p JOIN events e ON e.seq = p.seq WHERE p.hmac IN "
            f"(SELECT hmac FROM pseudonyms WHERE seq IN ({','.join('?' * len(seqs))}))"
        )
        return [(int(seq), call) for seq, call in self._all(query, list(seqs))]

    def event(self, seq: int) -> ShownEvent | None:
        """One event."""
        return next(self._shown(" WHERE e.seq = ?", (seq,), one_call=True), None)

    def checkpoint(self) -> str | None:
        """The newest signed checkpoint, as the note that it is."""
        rows = self._all("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1", ())
        return str(rows[0][0]) if rows else None

    def find_call(self, part: str) -> str:
        """The one call whose id begins or ends so. Raises LedgerMissing for none or several."""
        wanted = part.lower()
        found: set[str] = set()
        if _PART.fullmatch(wanted):
            begin = "SELECT DISTINCT call FROM events WHERE call >= ? AND call < ? LIMIT ?"
            found = {str(row[0]) for row in self._all(begin, (wanted, wanted + "g", SEVERAL))}
            if wanted not in found:  # the whole id cannot be another one's end
                end = "SELECT call FROM events WHERE type = 'call.received' AND call LIKE ? LIMIT ?"
                found |= {str(row[0]) for row in self._all(end, (f"%{wanted}", SEVERAL))}
        if not found:
            raise LedgerMissing(f"no call's id begins or ends with {part!r}; the ids are listed by: ivr call list")
        if len(found) > 1:
            some = sorted(found)[: SEVERAL - 1]
            more = ", …" if len(found) > len(some) else ""
            raise LedgerMissing(
                f"several calls' ids begin or end with {part!r}: {', '.join(some)}{more}; give more digits. Calls of "
                "the same time begin alike: the last 12 digits, as in ivr top, tell them apart"
            )
        return found.pop()

    def calls(self, limit: int | None = None) -> list[CallSummary]:
        """The newest `limit` calls, oldest first."""
        query = "SELECT call FROM events WHERE type = 'call.received' ORDER BY seq DESC"
        rows = self._all(query, ()) if limit is None else self._all(f"{query} LIMIT ?", (limit,))
        names = [str(row[0]) for row in rows]
        return [_summary(name, list(self.events(name))) for name in reversed(names)]

    def _each(self, query: str, values: Sequence[object]) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._db.each(query, values)
        except ReadError as error:
            raise LedgerMissing(f"{self._place} cannot be read as a log: {error}") from None

    def _all(self, query: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        try:
            return self._db.all(query, values)
        except ReadError as error:
            raise LedgerMissing(f"{self._place} cannot be read as a log: {error}") from None

    def _shown(self, where: str, values: Sequence[object], *, one_call: bool = False) -> Iterator[ShownEvent]:
        # One call's events are few.
        query = _FIELDS + where + _ORDER
        rows = iter(self._all(query, values)) if one_call else self._each(query, values)
        for (seq, jws), group in groupby(rows, key=lambda row: (row[0], row[1])):
            texts = [text for row in group if row[2] is not None and (text := self._open(row[2])) is not None]
            try:
                event = peek(jws)
                personal = {d.name: d.value for d in map(parse_disclosure, texts)}
            except EventError as error:
                raise EventError(f"event {seq}: {error}; run: ivr log verify") from None
            erased = len(event.sd) - len(personal)
            yield ShownEvent(seq, event.id, event.time, event.call, event.type, event.data, personal, erased, jws)


def _plain(text: str) -> str | None:
    return None if text.startswith(PREFIX) else text


def _kept_by_a_lost_one(stopped: ShownEvent | None) -> bool:
    """Its worker was gone before it could say that it had begun; the ledger found what it kept."""
    return stopped is not None and bool(stopped.data.get("segments"))


def _summary(call: str, events: Sequence[ShownEvent]) -> CallSummary:
    by_type = {event.type: event for event in events}
    first = by_type["call.received"]
    end = by_type.get("call.ended") or by_type.get("call.lost")
    outcome = "running" if end is None else "lost" if end.type == "call.lost" else str(end.data.get("outcome"))
    caller, dialled = first.personal.get("caller"), first.personal.get("dialled")
    return CallSummary(
        call,
        first.time,
        end.time if end else None,
        str(first.data.get("flow")),
        None if caller is None else str(caller),
        None if dialled is None else str(dialled),
        outcome,
        "recording.started" in by_type or _kept_by_a_lost_one(by_type.get("recording.stopped")),
        len(events),
    )
