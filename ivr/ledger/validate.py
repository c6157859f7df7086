# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns what a worker sent into an Entry, or says why not. The catalogue decides which types and fields exist."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ivr.ledger import canonical
from ivr.ledger.catalogue import TYPES
from ivr.ledger.errors import LedgerRefused
from ivr.ledger.ids import uuid7
from ivr.ledger.log import Entry
from ivr.ledger.protocol import INVALID

_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

# A JWS of 65 535 bytes less header, signature and the rest of the payload, times 3/4. Refused here, because an event
# that cannot be signed would stop the writer.
MAX_DATA = 47_000

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
    }
)


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
        size = len(canonical.dumps(data))
    except canonical.CanonicalError as error:
        raise LedgerRefused(INVALID, f"{kind}: {error}") from None
    if size > MAX_DATA:
        raise LedgerRefused(INVALID, f"{kind}: data of {size} bytes; one event holds {MAX_DATA}, so split it")
    at_ms = data.get("at_ms", 0)
    if type(at_ms) is not int or at_ms < 0:
        raise LedgerRefused(INVALID, f"{kind}: at_ms is {at_ms!r}, not whole milliseconds since the call was received")
    return Entry(declared.name, call, data, personal, event_id)


def _known(kind: str, where: str, given: Mapping[str, Any], declared: Iterable[str]) -> None:
    unknown = sorted(set(given) - set(declared))
    if unknown:
        allowed = ", ".join(declared) or "no fields"
        raise LedgerRefused(INVALID, f"{kind}: unknown in {where}: {', '.join(unknown)} (declared: {allowed})")


def _is_uuid7(value: object) -> bool:
    return isinstance(value, str) and _UUID7.fullmatch(value) is not None
