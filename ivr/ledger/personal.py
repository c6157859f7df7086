# SPDX-License-Identifier: GPL-3.0-or-later
"""What the log keeps of persons beside the evidence: sealed fields, pseudonyms, and what a legal hold covers.

Works in the ledger's writer, one event after the other, so that a hold that was logged before an erasure always counts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Any

from ivr.ledger import canonical
from ivr.ledger.event import MAX_DATA, Disclosure, EventError, parse_disclosure, peek
from ivr.ledger.keeping import PersonalSettings
from ivr.ledger.pseudonym import named, reference_pseudonym, spellings, tag
from ivr.ledger.sealed import SubjectSecrets, slot_of
from ivr.ledger.store import DisclosureRow, PersonalRow, PseudonymRow, Store

# (event, name of a personal field; None for all that it has).
Field = tuple[int, str | None]
REFERENCE = "reference"
# Enough to see that the key store is older than the database: slots are given in the order of events.
_NEWEST = 2000


@dataclass(frozen=True, slots=True)
class Erasing:
    """What an event erases when it is written. `rule`: only what is due. `subject`: this person's pseudonyms too, by
    their number or by the place of a request that names them."""

    fields: tuple[Field, ...]
    subject: str | int | None = None
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class Erased:
    """What went, as the event says it; `rows` and `pseudonyms` are still to be deleted with the event.

    `persons`: whose secrets go after that, by `forget`.
    """

    data: Mapping[str, Any]
    rows: Sequence[PersonalRow]
    pseudonyms: Sequence[str] = ()
    persons: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """One event that names somebody: by which field, and of which call."""

    seq: int
    name: str
    call: str | None
    type: str


class PersonalData:
    """Owned by the log's writer; `find` may be called from another thread."""

    def __init__(self, store: Store, key: bytes, settings: PersonalSettings) -> None:
        self._store, self._key, self._settings = store, key, settings
        self._lock = Lock()
        self._secrets: SubjectSecrets | None = None
        if settings.subjects is not None:
            slots = [slot for text in store.newest_disclosures(_NEWEST) if (slot := slot_of(text)) is not None]
            self._secrets = SubjectSecrets(settings.subjects, key, used=bool(slots))
            self._secrets.not_before(max(slots, default=-1) + 1)
            self._finish()
        self._holds: dict[str, tuple[frozenset[str], int]] = {}
        for row in store.of_types(("hold.placed", "hold.lifted")):
            self.note(row.type, row.seq, peek(row.jws).data)

    # -- writing --

    def keep(
        self, seq: int, disclosures: Iterable[Disclosure], personal: Mapping[str, Any], index: Mapping[str, str]
    ) -> tuple[list[DisclosureRow], list[PseudonymRow]]:
        """The rows of one event: sealed fields, and the pseudonyms under which it is found."""
        with self._lock:
            rows = [DisclosureRow(seq, d.digest, d.name, self._sealed(d.text)) for d in disclosures]
            found = [(name, self._pseudonym(form)) for name, form in named(personal, self._settings.region)]
        found += [(name, reference_pseudonym(value, self._key)) for name, value in index.items()]
        return rows, [PseudonymRow(value, seq, name) for name, value in found]

    def note(self, kind: str, seq: int, data: Mapping[str, Any]) -> None:
        """Take in a hold."""
        if kind == "hold.placed":
            self._holds[str(data.get("hold"))] = (frozenset(map(str, data.get("calls") or ())), seq)
        elif kind == "hold.lifted":
            self._holds.pop(str(data.get("hold")), None)

    def flush(self) -> None:
        """Secrets reach the disk before the rows that need them."""
        if self._secrets is not None:
            with self._lock:
                self._secrets.flush()

    def erase(self, erasing: Erasing, now: str, said: Mapping[str, Any]) -> Erased:
        """Destroy the fields' secrets; what is on hold, or not due by `rule`, stays. Rows are deleted by the caller.

        A person's own secret only gets a mark, and goes by `forget` when the event is written: it is what their events
        are found by, and an erasure that was interrupted must find them again.
        `said` is the event's data so far: it may name calls that were held back already.
        """
        rows = self._store.personal(erasing.fields)
        if erasing.rule is not None:
            asked = self._store.asked(sorted({row.call for row in rows if row.call is not None}))
            rows = [row for row in rows if self._due(row, erasing.rule, now, asked)]
        kept = self._held(rows)
        gone = [row for row in rows if row.seq not in kept]
        held_calls = {row.call or f"event {row.seq}" for row in rows if row.seq in kept}
        persons: list[bytes] = []
        seqs = sorted({row.seq for row in gone})
        if erasing.rule is None:
            held = sorted({*held_calls, *map(str, said.get("held") or ())})
            data: dict[str, Any] = {"fields": len(gone), "secrets": len(gone), "held": held, "events": seqs}
        else:
            data = {"fields": len(gone), "held": len(held_calls), "what": seqs}
        # Before anything goes: what could not be signed would be gone without an event.
        size = len(canonical.dumps({"data": {**said, **data}}))
        if size > MAX_DATA:
            raise EventError(f"data of {size} bytes after the erasure; one event holds {MAX_DATA}, so split it")
        with self._lock:
            if erasing.subject is not None and not held_calls:
                persons = self._persons(erasing.subject)
                if self._secrets is not None:
                    self._secrets.condemn(persons)
            destroyed = self._secrets.destroy([row.text for row in gone]) if self._secrets else 0
            hashes = self._under(persons)
        if erasing.rule is None:
            data["secrets"] = destroyed
        return Erased(data, gone, hashes, persons)

    def forget(self, erased: Erased) -> None:
        """The event is written: nobody is found any more. A crash before this is finished by the next start."""
        if self._secrets is not None and erased.persons:
            with self._lock:
                self._secrets.forget(erased.persons)

    # -- finding --

    def find_number(self, number: str) -> list[Match]:
        """Every event that names this number, however it was written."""
        with self._lock:
            hashes = self._under(self._tags(number))
        return self._matches(hashes)

    def find_subject(self, seq: int) -> list[Match]:
        """Every event that names whom this request names, also when an erasure that was cut short took the number."""
        with self._lock:
            hashes = self._under(self._persons(seq))
        return self._matches(hashes)

    def find_reference(self, digits: str) -> list[Match]:
        """The event of the call that has this reference code."""
        return self._matches([reference_pseudonym(digits, self._key)])

    def tries(self, since: str) -> int:
        """How many reference codes were tried in vain since then (a time as in events)."""
        rows = self._store.of_types(("reference.tried",), since=since)
        tried = [peek(row.jws).data for row in rows]
        return sum(data.get("found") is False and not data.get("refused") for data in tried)

    def close(self) -> None:
        """Release the key store."""
        if self._secrets is not None:
            self._secrets.close()

    # -- inside --

    def _sealed(self, text: str) -> str:
        return text if self._secrets is None else self._secrets.seal(text)

    def _pseudonym(self, form: str) -> str:
        plain = tag(form, self._key)
        return plain.hex() if self._secrets is None else str(self._secrets.subject(plain, make=True))

    def _tags(self, number: str) -> list[bytes]:
        return [tag(form, self._key) for form in spellings(number, self._settings.region)]

    def _persons(self, subject: str | int) -> list[bytes]:
        """The tags of a number, or of the number that this request names."""
        if isinstance(subject, str):
            return self._tags(subject)
        for row in self._store.personal([(subject, "subject")]):
            text = row.text if self._secrets is None else self._secrets.open(row.text)
            if text is not None:
                return self._tags(str(parse_disclosure(text).value))
        # Its secret is gone and its row is not: the ledger died between them. Its pseudonym still leads to the person.
        hashes = self._store.pseudonyms(subject, "subject")
        return [] if self._secrets is None else self._secrets.under(hashes)

    def _under(self, tags: Sequence[bytes]) -> list[str]:
        """Every pseudonym that the database may have of these; with the lock."""
        hashes = [one.hex() for one in tags]
        if self._secrets is not None:
            hashes += [found for one in tags if (found := self._secrets.subject(one, make=False)) is not None]
        return hashes

    def _finish(self) -> None:
        """What the last run marked: its event was written, and the secret goes now; or it was not, and the secret stays
        for whoever erases again."""
        if self._secrets is None:
            return
        for one in self._secrets.condemned():
            if self._store.by_pseudonym(self._under([one])):
                self._secrets.spare([one])
            else:
                self._secrets.forget([one])

    def _matches(self, hashes: Sequence[str]) -> list[Match]:
        return [Match(row.seq, row.name, row.call, row.type) for row in self._store.by_pseudonym(hashes)]

    def _held(self, rows: Sequence[PersonalRow]) -> set[int]:
        """Those of these events that a hold covers: by their call, or by a number that the call names."""
        if not self._holds or not rows:
            return set()
        calls = {call for covered, _ in self._holds.values() for call in covered}
        placed = [seq for _, seq in self._holds.values()]
        alike = self._store.sharing_pseudonym(placed)
        calls |= {row.call for row in alike if row.call is not None}
        events = {row.seq for row in alike}
        return {row.seq for row in rows if row.call in calls or row.seq in events or row.seq in placed}

    def _due(self, row: PersonalRow, rule: str, now: str, asked: set[str]) -> bool:
        if rule != rule_of(row.name, row.call is not None, row.call in asked):
            return False
        days = self._settings.retention_days.get(rule)
        return days is not None and _later(row.time, days) <= now


def rule_of(name: str, of_call: bool, asked: bool) -> str:
    """Which retention clock a personal field has: `evidence` says who decided or who did something."""
    return "evidence" if not of_call or name == "who" or (name == "caller" and asked) else "personal"


def _later(time: str, days: int) -> str:
    moved = datetime.fromisoformat(time) + timedelta(days=days)
    return moved.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
