# SPDX-License-Identifier: GPL-3.0-or-later
"""Searches for the events of a number, a request or a reference code. Guesses of codes are few, and logged."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from ivr.ledger.canonical import MAX_INT
from ivr.ledger.errors import LedgerRefused
from ivr.ledger.log import Entry
from ivr.ledger.people import Person
from ivr.ledger.personal import Match, PersonalData
from ivr.ledger.protocol import INVALID, LIMITED

# Eleven random digits: a year of guessing at this rate meets one of 10,000 codes with a chance of 1 in 230.
GUESSES, GUESS_WINDOW = 5, timedelta(hours=1)


class Searching:
    """`note` writes an event of the ledger's own and returns when it is durable."""

    def __init__(self, personal: PersonalData, note: Callable[[Entry], Awaitable[None]]) -> None:
        self._personal = personal
        self._note = note
        self._one_guess = asyncio.Lock()

    async def find(self, by: object, value: object, may: Callable[[str], Person | None]) -> list[Match]:
        """What there is. `may` says who asks, and raises LedgerRefused; so does what makes no sense."""
        if by not in ("number", "reference", "request") or not isinstance(value, str):
            raise LedgerRefused(INVALID, "find by number, reference or request, and a value as text")
        if by == "reference":
            return await self._guess(value, may("reference.tried"))
        may("subject.find")
        if by == "number":
            return await asyncio.to_thread(self._personal.find_number, value)
        if not value.isascii() or not value.isdigit() or int(value) > MAX_INT:
            raise LedgerRefused(INVALID, "a request is found by its place in the log")
        return await asyncio.to_thread(self._personal.find_subject, int(value))

    async def _guess(self, code: str, person: Person | None) -> list[Match]:
        who = {"who": person.name} if person else {}
        async with self._one_guess:
            since = (datetime.now(UTC) - GUESS_WINDOW).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            if await asyncio.to_thread(self._personal.tries, since) >= GUESSES:
                await self._note(Entry("reference.tried", None, {"found": False, "refused": True}, who))
                raise LedgerRefused(LIMITED, f"{GUESSES} codes were tried in vain; wait {GUESS_WINDOW}")
            found = await asyncio.to_thread(self._personal.find_reference, code)
            # Logged before the answer: a guess leaves its trace even if the answer is never read.
            await self._note(Entry("reference.tried", None, {"found": bool(found)}, who))
        return found
