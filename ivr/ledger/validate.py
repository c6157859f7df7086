# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns what a worker sent into an Entry, or says why not. The catalogue decides which types and fields exist."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ivr.ledger import canonical
from ivr.ledger.catalogue import TYPES
from ivr.ledger.errors import LedgerRefused
from ivr.ledger.event import MAX_DATA
from ivr.ledger.ids import uuid7
from ivr.ledger.log import Entry
from ivr.ledger.people import GRANTS
from ivr.ledger.personal import Erasing
from ivr.ledger.protocol import INVALID

_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

# Written by the ledger about itself; a worker that could write these could make up its own history.
LEDGER_ONLY = frozenset(
    {
        "log.created",
        "key.added",
        "key.retired",
        "node.started",
        "node.stopped",
        "node.clock_stepped",
        "worker.joined",
        "worker.left",
        "call.lost",
        "reference.tried",
    }
)

# Not for workers: they meet strangers. Most need a person's signature as well (people.py).
TOOL_ONLY = frozenset({*GRANTS, "retention.applied"}) & TYPES.keys()
# Written together with the erasure that they tell of, never on their own.
ERASES = frozenset({"subject.erased", "retention.applied"})
MAX_FIELDS = 2000
MAX_ID = 128
_INDEXED = frozenset({"reference"})


def entry_of(message: Mapping[str, Any], *, own: bool = False) -> Entry:
    """The entry of an append message. Raises LedgerRefused. `own` admits what only the ledger may write."""
    kind = message.get("type")
    declared = TYPES.get(kind) if isinstance(kind, str) else None
    if declared is None:
        raise LedgerRefused(INVALID, f"unknown event type {kind!r}")
    if not own and kind in LEDGER_ONLY:
        raise LedgerRefused(INVALID, f"{kind} is written by the ledger only")
    call, event_id = message.get("call"), message.get("id") or uuid7()
    if call is not None and not _is_uuid7(call):
        raise LedgerRefused(INVALID, f"{kind}: call {call!r} is not a UUIDv7 in lower case")
    if declared.of_call and call is None:
        raise LedgerRefused(INVALID, f"{kind} belongs to a call, and names none")
    if not _is_uuid7(event_id):
        raise LedgerRefused(INVALID, f"{kind}: id {event_id!r} is not a UUIDv7 in lower case")
    data, personal = message.get("data"), message.get("personal") or {}
    if not isinstance(data, dict) or not isinstance(personal, dict):
        raise LedgerRefused(INVALID, f"{kind}: data and personal must be objects")
    _known(declared.name, "data", data, declared.data)
    _known(declared.name, "personal", personal, declared.personal)
    missing = sorted(declared.required - data.keys())
    if missing:
        raise LedgerRefused(INVALID, f"{kind}: missing in data: {', '.join(missing)}")
    try:
        canonical.dumps(personal)
        # As deep as it will stand in the event.
        size = len(canonical.dumps({"data": data}))
    except canonical.CanonicalError as error:
        raise LedgerRefused(INVALID, f"{kind}: {error}") from None
    # Refused here, because an event that cannot be signed would stop the writer.
    if size > MAX_DATA:
        raise LedgerRefused(INVALID, f"{kind}: data of {size} bytes; one event holds {MAX_DATA}, so split it")
    at_ms = data.get("at_ms", 0)
    if type(at_ms) is not int or at_ms < 0:
        raise LedgerRefused(INVALID, f"{kind}: at_ms is {at_ms!r}, not whole milliseconds since the call was received")
    recording = data.get("recording")
    # It stands in an indexed column as well, which the auditor compares with the signed event.
    if recording is not None and not (_is_text(recording) and len(recording) <= MAX_ID and recording.isprintable()):
        raise LedgerRefused(INVALID, f"{kind}: recording is {recording!r}, not an id")
    index = message.get("index") or {}
    if not isinstance(index, dict) or not index.keys() <= _INDEXED or not all(_is_text(v) for v in index.values()):
        raise LedgerRefused(INVALID, f"{kind}: only {', '.join(_INDEXED)} can be indexed, as text")
    return Entry(declared.name, call, data, personal, event_id, index)


def erasing_of(message: Mapping[str, Any], entry: Entry) -> Entry:
    """The entry with what it erases: `fields` is a list of [event, name or null]. Raises LedgerRefused."""
    if entry.type not in ERASES:
        raise LedgerRefused(INVALID, f"{entry.type} erases nothing")
    fields, subject = message.get("fields"), message.get("subject")
    if not isinstance(fields, list) or len(fields) > MAX_FIELDS or not all(map(_is_field, fields)):
        raise LedgerRefused(INVALID, f"{entry.type}: fields is a list of at most {MAX_FIELDS} [event, name or null]")
    if subject is not None and type(subject) is not int and not _is_text(subject):
        raise LedgerRefused(INVALID, f"{entry.type}: subject is a number, the place of a request, or null")
    rule = None if entry.type == "subject.erased" else str(entry.data.get("rule"))
    return replace(entry, erases=Erasing(tuple((f[0], f[1]) for f in fields), subject if rule is None else None, rule))


def _is_field(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 2:
        return False
    return type(value[0]) is int and (value[1] is None or _is_text(value[1]))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _known(kind: str, where: str, given: Mapping[str, Any], declared: Iterable[str]) -> None:
    unknown = sorted(set(given) - set(declared))
    if unknown:
        allowed = ", ".join(declared) or "no fields"
        raise LedgerRefused(INVALID, f"{kind}: unknown in {where}: {', '.join(unknown)} (declared: {allowed})")


def _is_uuid7(value: object) -> bool:
    return isinstance(value, str) and _UUID7.fullmatch(value) is not None
