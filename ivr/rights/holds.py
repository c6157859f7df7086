# SPDX-License-Identifier: GPL-3.0-or-later
"""Legal holds: by call, by number (past calls and future ones) or by case. Placing and lifting are events."""

import re
from collections.abc import Sequence

from ivr.ledger.canonical import Json
from ivr.ledger.ids import uuid7
from ivr.ledger.query import LogReader
from ivr.ledger.tool import LedgerTool
from ivr.rights.errors import NotHere, RightsError
from ivr.rights.identity import Known
from ivr.rights.view import Hold, holds_now

_CASE = re.compile(r"[A-Za-z0-9._/-]{1,64}")


def place(
    tool: LedgerTool,
    known: Known,
    *,
    calls: Sequence[str],
    number: str | None,
    case: str | None,
    why: str,
    hold: str | None = None,
) -> str:
    """Place a hold, durably; its id (`hold`, when it was given one). Raises RightsError and errors of the ledger."""
    known.must("hold.placed")
    if not calls and number is None:
        raise RightsError("a hold covers calls or a number: name at least one (--call, --number)")
    if case is not None and not _CASE.fullmatch(case):
        raise RightsError(f"{case!r} is no case label: letters, digits and . _ / - only, and no names of people")
    hold = hold or uuid7()
    data: dict[str, Json] = {"hold": hold, "why": why}
    if case is not None:
        data["case"] = case
    if calls:
        data["calls"] = list(calls)
    personal: dict[str, Json] = {"who": known.person.name}
    if number is not None:
        personal["number"] = number
    tool.append("hold.placed", data=data, personal=personal)
    return hold


def lift(log: LogReader, tool: LedgerTool, known: Known, *, hold: str | None, case: str | None, why: str) -> list[Hold]:
    """Lift one hold (any beginning of its id) or all of a case. Raises RightsError when there is none."""
    known.must("hold.lifted")
    held = holds_now(log).values()
    chosen = [one for one in held if (hold and one.id.startswith(hold)) or (case and one.case == case)]
    if not chosen or (hold and len(chosen) > 1):
        kind = RightsError if chosen else NotHere
        raise kind(f"{len(chosen)} holds are meant by {hold or case!r}; `ivr hold list` shows them")
    for one in chosen:
        tool.append("hold.lifted", data={"hold": one.id, "why": why}, personal={"who": known.person.name})
    return chosen
