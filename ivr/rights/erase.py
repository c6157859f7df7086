# SPDX-License-Identifier: GPL-3.0-or-later
"""Erasure by destroying keys: of a recording, a call, or everything that names a person. What is on hold stays.

In this order: recordings (their secret, then their files), each with its event; then the secrets of the personal
fields, destroyed by the ledger together with the event that says so. A crash leaves less than before, and the same
command finishes it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import zip_longest
from typing import Any, TypeVar

from ivr.ledger.canonical import Json
from ivr.ledger.event import peek
from ivr.ledger.personal import Field, Match
from ivr.ledger.protocol import Ack
from ivr.ledger.query import LogReader
from ivr.ledger.tool import LedgerTool
from ivr.rights.errors import RightsError
from ivr.rights.identity import Known
from ivr.rights.retention import erase_recording
from ivr.rights.view import Recording, View, look
from ivr.vault.store import RecordingStore

REASON = "erasure"
T = TypeVar("T")
# One event holds 47 KB: these, the calls that the ledger finds held among so many fields, and the reason.
_FIELDS_AT_ONCE, _NAMES_AT_ONCE = 400, 250


@dataclass(frozen=True, slots=True)
class Target:
    """What is to go. `subject`: who is to be forgotten as well, by number or by the place of a request of theirs."""

    scope: str
    fields: tuple[Field, ...]
    recordings: tuple[Recording, ...]
    subject: str | int | None = None
    calls: tuple[str, ...] = ()


@dataclass(slots=True)
class Receipt:
    """What went, with the signed events that say so."""

    scope: str
    recordings: list[str] = field(default_factory=list)
    fields: int = 0
    secrets: int = 0
    held: list[str] = field(default_factory=list)
    events: list[Ack] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """A receipt to hand over: it names nobody, and each `jws` can be checked with the log's public key."""
        events = [{"seq": ack.seq, "id": ack.id, "time": ack.time, "jws": ack.jws} for ack in self.events]
        return {
            "receipt": "erasure",
            "scope": self.scope,
            "recordings": self.recordings,
            "personal_fields": self.fields,
            "secrets_destroyed": self.secrets,
            "kept_for_a_legal_hold": self.held,
            "events": events,
        }


def of_recording(view: View, prefix: str) -> Target:
    """One recording, by any beginning of its id. Raises RightsError."""
    found = [one for name, one in view.recordings.items() if name.startswith(prefix)]
    if not prefix or len(found) != 1:
        raise RightsError(f"{len(found)} recordings begin with {prefix!r}; `ivr recording list` shows the ids")
    return Target("recording", (), tuple(found), calls=(found[0].call,))


def of_call(log: LogReader, view: View, prefix: str) -> Target:
    """One call: its recordings and everything personal in its events. Raises RightsError, LedgerMissing."""
    name = log.find_call(prefix)
    return of_calls(log, view, [name], "call")


def of_calls(log: LogReader, view: View, names: Sequence[str], scope: str) -> Target:
    """These calls whole."""
    fields = [(event.seq, None) for name in names for event in log.events(name)]
    recordings = [one for name in names if name in view.calls for one in view.calls[name].recordings]
    return Target(scope, tuple(fields), tuple(recordings), calls=tuple(names))


def of_subject(view: View, subject: str | int, matches: Iterable[Match], request: int | None = None) -> Target:
    """Everything that names this number. Of calls they made: all of it, and the recordings; elsewhere: their name.

    The request that it is done for (its place) comes last: an erasure that is cut short is finished by it.
    """
    fields: list[Field] = []
    calls: list[str] = []
    for match in sorted(matches, key=lambda one: one.seq == request):
        own = match.name == "caller" and match.call is not None
        fields.append((match.seq, None if own else match.name))
        if own and match.call is not None:
            calls.append(match.call)
    recordings = [one for name in calls if name in view.calls for one in view.calls[name].recordings]
    return Target("subject", tuple(fields), tuple(recordings), subject, tuple(calls))


def erase(
    log: LogReader,
    store: RecordingStore,
    tool: LedgerTool,
    known: Known,
    target: Target,
    *,
    why: str,
    now: datetime,
    request: str | None = None,
) -> Receipt:
    """Do it. Raises NotAllowed or RightsError before anything is touched; VaultError, LedgerUnavailable midway."""
    known.must("subject.erased")
    view = look(log)
    _must_be_over(view, target)
    receipt = Receipt(target.scope)
    for one in target.recordings:
        if one.call in view.covered:
            continue
        if view.recordings[one.id].erased is None:
            erase_recording(store, tool, view, view.recordings[one.id], REASON, now)
            receipt.recordings.append(one.id)
        else:
            # Files of it may have come back with a backup; they do not open, and go again.
            store.erase(one.call, one.id)
    receipt.held = sorted({name for name in target.calls if name in view.covered})
    names = zip_longest(_parts(receipt.held, _NAMES_AT_ONCE), _parts(receipt.recordings, _NAMES_AT_ONCE), fillvalue=())
    parts = _ended_alike(_parts(target.fields, _FIELDS_AT_ONCE), list(names))
    for number, (part, named) in enumerate(parts, 1):
        held, recordings = named or ((), ())
        data: dict[str, Json] = {"scope": target.scope, "events": [], "fields": 0, "secrets": 0, "why": why}
        data |= {"held": list(held), "recordings": list(recordings)}
        if request is not None:
            data["request"] = request
        subject = target.subject if number == len(parts) and not receipt.held else None
        who: dict[str, Json] = {"who": known.person.name}
        ack = tool.erase("subject.erased", part, data=data, personal=who, subject=subject)
        said = peek(ack.jws).data
        receipt.events.append(ack)
        receipt.fields += int(said["fields"])
        receipt.secrets += int(said["secrets"])
        receipt.held = sorted({*receipt.held, *map(str, said["held"])})
    return receipt


def _parts(values: Sequence[T], size: int) -> list[Sequence[T]]:
    return [values[at : at + size] for at in range(0, len(values), size)]


def _ended_alike(fields: list[Sequence[Field]], names: list[Any]) -> list[tuple[Sequence[Field], Any]]:
    """Both in step, the last fields in the last part: they go with the person's pseudonym or not at all."""
    size = max(len(fields), len(names), 1)
    return list(zip([()] * (size - len(fields)) + fields, names + [()] * (size - len(names)), strict=True))


def _must_be_over(view: View, target: Target) -> None:
    running = [name for name in target.calls if name in view.calls and not view.calls[name].over]
    running += [one.call for one in target.recordings if view.recordings[one.id].stopped is None]
    if running:
        raise RightsError(f"call {running[0]} is up: nothing was erased; try again when it is over")
