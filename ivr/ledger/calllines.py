# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger's own lines of a call: that it is in the log, and how it ended. With the id that the edge gave it."""

import logging

from ivr.calltrace import Trace
from ivr.ledger.log import Entry

_log = logging.getLogger(__name__)

MAX_OPEN = 10_000
"""Calls whose id from the edge is kept; a broken worker must not fill the memory."""


class CallLines:
    """Told of every durable event. Remembers the edge's ids of open calls, which only their first event carries."""

    def __init__(self) -> None:
        self._edges: dict[str, str] = {}

    def durable(self, entry: Entry) -> None:
        """Writes a line for the first and the last event of a call."""
        call, kind = entry.call, entry.type
        if call is None or kind not in ("call.received", "call.ended", "call.lost"):
            return
        if kind == "call.received":
            edge = str(entry.data.get("edge") or "")
            if edge and len(self._edges) < MAX_OPEN:
                self._edges[call] = edge
            _log.info("call %s: received by %s", call, entry.data.get("worker"), extra=Trace(call, edge).fields)
            return
        fields = Trace(call, self._edges.pop(call, "")).fields
        if kind == "call.ended":
            _log.info("call %s: %s (%s)", call, entry.data.get("outcome"), entry.data.get("reason"), extra=fields)
        else:
            _log.warning("call %s: lost (%s)", call, entry.data.get("reason"), extra=fields)
