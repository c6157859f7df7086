# SPDX-License-Identifier: GPL-3.0-or-later
"""An event that the client itself refuses is awaited by nobody: a line says so, and a flood of them fills no disk."""

import asyncio
import logging
from pathlib import Path

import pytest

from ivr.ledger import client as module
from ivr.ledger.client import LedgerClient, LedgerRefused, LedgerUnavailable
from ivr.ledger.seldom import MAX_KINDS, Seldom
from ledger_kit import make_home, serving


def test_what_cannot_be_sent_is_said_once_and_then_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    home = make_home(tmp_path)

    async def test() -> None:
        async with serving(home):
            client = await LedgerClient.connect(home.socket, "w0")
            for _ in range(20):
                with pytest.raises(LedgerRefused, match="cannot be sent"):
                    await client.append("node.draining", call=None, data={"reason": object()})  # type: ignore[dict-item]
            await client.close()

    with caplog.at_level(logging.ERROR, "ivr.ledger.client"):
        asyncio.run(test())
    assert [record.getMessage()[:36] for record in caplog.records] == ["an event is lost: node.draining: can"]


def test_a_full_queue_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_QUEUE", 3)

    async def test() -> None:
        client = LedgerClient(tmp_path / "none", "w0", "worker", list, None)
        waiting = [client.append("node.draining", call=None, data={"reason": "x"}) for _ in range(9)]
        for refused in waiting[3:]:
            with pytest.raises(LedgerUnavailable, match="3 events wait"):
                await refused
        await client.close(0.01)

    with caplog.at_level(logging.ERROR, "ivr.ledger.client"):
        asyncio.run(test())
    assert len(caplog.records) == 1


def test_after_a_while_it_is_said_again_with_how_often(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    seldom = Seldom(logging.getLogger("seldom"), lambda: now[0], every=10)
    with caplog.at_level(logging.ERROR, "seldom"):
        for second in range(12):
            now[0] = second
            seldom.error("a", "broken")
        seldom.error("b", "other")
        for kind in range(3 * MAX_KINDS):
            seldom.error(str(kind), "many")
    said = [record.getMessage() for record in caplog.records]
    assert said[:3] == ["broken", "broken (and 9 more since)", "other"]
    assert len(seldom._kinds) <= MAX_KINDS
