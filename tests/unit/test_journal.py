# SPDX-License-Identifier: GPL-3.0-or-later
"""A call's events carry the call and its own clock; a permit is never sent later."""

import asyncio

from calls_kit import CALL, ToldLedger, on_virtual_clock
from ivr.calls.journal import Journal


def test_events_carry_the_calls_own_clock() -> None:
    async def run() -> list[tuple[str, int, bool]]:
        loop, ledger = asyncio.get_running_loop(), ToldLedger()
        await asyncio.sleep(5)  # the loop is older than the call
        journal = Journal(ledger, CALL, loop)  # type: ignore[arg-type]
        journal.write("call.received", {"flow": "x"}, {"caller": "+49"})
        await asyncio.sleep(1.2345)
        journal.write("notice.started", {})
        journal.write("recording.permitted", {}, at_ms=700, queue=False)
        assert ledger.written[0].personal == {"caller": "+49"}
        assert ledger.written[0].data["flow"] == "x"
        return [(one.kind, one.data["at_ms"], one.queue) for one in ledger.written]

    assert on_virtual_clock(run) == [
        ("call.received", 0, True),
        ("notice.started", 1234, True),
        ("recording.permitted", 700, False),
    ]
