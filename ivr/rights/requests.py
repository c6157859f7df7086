# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests of the people who were recorded, each with its clock: one month from the day it came in (Art. 12(3))."""

from collections.abc import Sequence
from datetime import date
from enum import StrEnum

from ivr.ledger.canonical import Json
from ivr.ledger.ids import uuid7
from ivr.ledger.personal import Match
from ivr.ledger.query import LogReader
from ivr.ledger.reference import read_reference
from ivr.ledger.tool import LedgerTool
from ivr.rights.errors import AlreadyDone, NotHere, RightsError
from ivr.rights.identity import Known
from ivr.rights.view import Request, View, look, one_month_after


class RequestKind(StrEnum):
    """What somebody asks for."""

    ACCESS = "access"
    """What is kept about me? (Art. 15, 20)"""
    ERASURE = "erasure"
    """Erase it. (Art. 17)"""
    OBJECTION = "objection"
    """I object to it. (Art. 21)"""
    WITHDRAWAL = "withdrawal"
    """I take my consent back. (Art. 7(3))"""


class Outcome(StrEnum):
    """How a request was answered."""

    ANSWERED = "answered"
    ERASED = "erased"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


def search(tool: LedgerTool, known: Known, *, number: str | None, reference: str | None) -> list[Match]:
    """The events that a number or a reference code names. A code is checked for slips before it counts as a try.

    Raises BadReference, RightsError, LedgerRefused (too many tries).
    """
    known.must("subject.find")
    if (number is None) == (reference is None):
        raise RightsError("name one of --number and --reference")
    if reference is not None:
        return tool.find("reference", read_reference(reference))
    return tool.find("number", str(number))


def calls_of(matches: Sequence[Match]) -> list[str]:
    """The calls among them, each once, oldest first."""
    return list(dict.fromkeys(match.call for match in matches if match.call is not None))


def open_request(
    tool: LedgerTool,
    known: Known,
    kind: RequestKind,
    *,
    number: str | None,
    calls: Sequence[str],
    received: date,
    today: date,
    request: str | None = None,
) -> tuple[str, date]:
    """Take a request in: its id and the last day to answer it. Raises RightsError.

    `request` is its id when it was given one: the same one on every node.
    """
    known.must("subject.request.opened")
    if received > today:
        raise RightsError(f"{received} is still to come: a request cannot have been received then")
    request, due = request or uuid7(), one_month_after(received)
    data: dict[str, Json] = {"request": request, "kind": kind.value}
    data |= {"received": received.isoformat(), "due": due.isoformat()}
    personal: dict[str, Json] = {"who": known.person.name}
    if number is not None:
        personal["subject"] = number
    else:
        data["calls"] = list(calls)
    tool.append("subject.request.opened", data=data, personal=personal)
    return request, due


def find_request(view: View, prefix: str) -> Request:
    """The request whose id begins so. Raises RightsError."""
    found = [request for name, request in view.requests.items() if name.startswith(prefix)]
    if not prefix or len(found) != 1:
        kind = RightsError if found else NotHere
        raise kind(f"{len(found)} requests begin with {prefix!r}; `ivr subject list` shows them")
    return found[0]


def close_request(
    log: LogReader, tool: LedgerTool, known: Known, prefix: str, outcome: Outcome, *, why: str, today: date
) -> Request:
    """Say that it was answered, and whether that was in time. Raises RightsError."""
    known.must("subject.request.closed")
    request = find_request(look(log), prefix)
    if request.closed is not None:
        raise AlreadyDone(f"request {request.id} was closed on {request.closed.time[:10]}")
    late = today > request.due
    data: dict[str, Json] = {"request": request.id, "outcome": outcome.value, "late": late, "why": why}
    tool.append("subject.request.closed", data=data, personal={"who": known.person.name})
    return request
