# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may connect to the ledger, and what each may cause: by the kernel's word on its user, and by signatures."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivr.ledger.errors import LedgerMissing, LedgerRefused
from ivr.ledger.people import FORBIDDEN, GRANTS, Person, authorise, load_people
from ivr.ledger.protocol import INVALID
from ivr.ledger.validate import ERASES, TOOL_ONLY

BY_TOOLS_TOO = frozenset({"recording.erased"})
"""What workers write, and retention and an officer's erasure as well."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may connect and as what, by what the kernel says of a peer: user and primary group.

    This process's own user and root may everything; for them the role that they name is only a name. `uids` are
    workers: they write what happens in calls, and nothing that only a tool may. `gids` are primary groups of tools:
    they never write what happened in a call.
    """

    uids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()

    def allows(self, uid: int, gid: int) -> bool:
        """Whether a peer with these kernel-checked credentials may connect."""
        return self.works(uid) or gid in self.gids

    def works(self, uid: int) -> bool:
        """Whether this user may be a worker."""
        return self._trusts(uid) or uid in self.uids

    def admits(self, uid: int, kind: str) -> bool:
        """Whether this user, once connected, may cause this event or search at all."""
        if self._trusts(uid):
            return True
        tools = kind in TOOL_ONLY or kind in GRANTS
        return not tools if uid in self.uids else tools or kind in BY_TOOLS_TOO

    @staticmethod
    def _trusts(uid: int) -> bool:
        return uid in (0, os.geteuid())


@dataclass(frozen=True, slots=True)
class Gate:
    """Looks at every message. `people` is read each time, so that a person who was removed may nothing from then on."""

    access: Access
    people: Path | None

    def person(self, uid: int | None, role: str, kind: str, message: dict[str, Any]) -> Person | None:
        """Who asks, where somebody must; `uid` and `role` are the peer's. Raises LedgerRefused."""
        if uid is None or not self.access.admits(uid, kind):
            raise LedgerRefused(FORBIDDEN, f"{kind} is not for this user")
        if kind not in TOOL_ONLY and kind not in GRANTS:
            return None
        if role != "tool":
            raise LedgerRefused(FORBIDDEN, f"{kind} is not for workers")
        if kind in ERASES and message.get("op") != "erase" and kind != "retention.applied":
            raise LedgerRefused(INVALID, f"{kind} is written with the erasure alone")
        if kind not in GRANTS:
            return None
        try:
            people = load_people(self.people) if self.people else ()
        except LedgerMissing as error:
            raise LedgerRefused(FORBIDDEN, str(error)) from None
        return authorise(kind, message, people)
