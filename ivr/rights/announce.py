# SPDX-License-Identifier: GPL-3.0-or-later
"""Who opens a recording, and why, is in the log before a single sample is: no durable event, no audio."""

from ivr.ledger.canonical import Json
from ivr.ledger.tool import LedgerTool
from ivr.rights.errors import RightsError
from ivr.rights.identity import Known


def announce(tool: LedgerTool, known: Known, *, call: str, recording: str, why: str, export: str | None = None) -> None:
    """Log that a recording is opened, or exported in the format `export`; durable when this returns.

    Raises NotAllowed, LedgerRefused or LedgerUnavailable: then nothing may be opened.
    """
    kind = "recording.accessed" if export is None else "recording.exported"
    known.must(kind)
    if not why.strip():
        raise RightsError("a reason is needed: it is what the log keeps of this")
    data: dict[str, Json] = {"recording": recording, "why": why}
    if export is not None:
        data["format"] = export
    tool.append(kind, call=call, data=data, personal={"who": known.person.name})
