# SPDX-License-Identifier: GPL-3.0-or-later
"""The caller's reference code: checked for slips, kept as a keyed hash alone, spoken once durable, hard to guess."""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ivr.calls.journal import Journal
from ivr.calls.verbs import reference
from ivr.flow.duration import Duration
from ivr.flow.verbs import Reference
from ivr.ledger.client import LedgerClient
from ivr.ledger.ids import uuid7
from ivr.ledger.reference import BadReference, groups, new_reference, read_reference
from ivr.ledger.searching import GUESSES
from rights_kit import Server, asked, make_server, received
from vault_kit import everything


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return make_server(tmp_path)


def test_every_wrong_digit_and_every_swap_is_found() -> None:
    for code in (new_reference() for _ in range(50)):
        assert read_reference(" ".join(groups(code))) == code
        for at in range(len(code)):
            for digit in set("0123456789") - {code[at]}:
                with pytest.raises(BadReference):
                    read_reference(code[:at] + digit + code[at + 1 :])
        for at in range(len(code) - 1):
            if code[at] != code[at + 1]:
                with pytest.raises(BadReference):
                    read_reference(code[:at] + code[at + 1] + code[at] + code[at + 2 :])
    for nonsense in ("", "12", "x" * 12, "٣" * 12):
        with pytest.raises(BadReference):
            read_reference(nonsense)


@dataclass
class Ear:
    """What the caller heard, by the names of prompts."""

    heard: list[str] = field(default_factory=list)

    async def say(self, name: str) -> Any:
        self.heard.append(name)
        return SimpleNamespace(whole=True)


def told_code(server: Server, *, ledger_up: bool = True) -> tuple[str, list[str]]:
    """A call whose flow reaches the reference step, over a real ledger; the call and what was spoken."""

    async def run() -> tuple[str, list[str]]:
        ear, call = Ear(), uuid7()
        client = await LedgerClient.connect(server.settings.ledger.socket, "worker-1")
        journal = Journal(client, call, asyncio.get_running_loop())
        for entry in (received(call, "anonymous"), asked(call, 30)):
            await client.append(entry.type, call=call, data=entry.data, personal=entry.personal)
        if not ledger_up:
            await client.close()
        caller = SimpleNamespace(leg=SimpleNamespace(down=None), speaker=ear)
        session: Any = SimpleNamespace(
            call=call,
            journal=journal,
            caller=caller,
            message=lambda name: name,
            note=lambda kind, data: journal.write(kind, data),
        )
        await reference.run(session, Reference(times=2, pause=Duration(1)))
        if ledger_up:
            await journal.write("call.ended", {"outcome": "completed", "reason": "hangup"})
            await client.close()
        return call, ear.heard

    return asyncio.run(run())


def code_in(heard: list[str]) -> str:
    return "".join(name[-1] for name in heard if name.startswith("digit_"))


def test_the_code_finds_the_call_and_is_kept_nowhere(server: Server) -> None:
    with server.serving():
        call, heard = told_code(server)
        assert [heard[0], heard[13]] == ["reference_intro", "reference_again"]
        code = code_in(heard)[:12]
        assert code_in(heard) == code * 2
        read_reference(code)
        ask = ("--identity", str(server.officer), "--json")
        found = server.ivr("subject", "find", "--reference", " ".join(groups(code)), *ask)
        assert [row["call"] for row in json.loads(found.stdout)["calls"]] == [call]
        opened = server.ivr("subject", "open", "--reference", code, "--kind", "erasure", *ask)
        assert json.loads(opened.stdout)["calls"] == [call]
        request = json.loads(opened.stdout)["request"]
        assert server.ivr("subject", "erase", request, *ask[:2], "--reason", "Art. 17").exit_code == 0
    assert code.encode() not in everything(server.folder)
    spoken = server.events("reference.made", "reference.spoken")
    assert [event.data.get("times") for event in spoken] == [None, 2]
    assert server.events("call.received")[0].personal == {}
    assert server.findings() == []


def test_without_a_ledger_no_code_is_spoken(server: Server) -> None:
    with server.serving():
        _, heard = told_code(server, ledger_up=False)
    assert heard == ["technical_problem"]


def test_guesses_are_logged_and_limited(server: Server) -> None:
    ask = ("--identity", str(server.officer), "--json")
    with server.serving():
        _, heard = told_code(server)
        for _ in range(GUESSES):
            assert server.ivr("subject", "find", "--reference", new_reference(), *ask).exit_code == 0
        # A slip of the tongue is no guess; neither is a number.
        assert server.ivr("subject", "find", "--reference", "123456789012"[::-1], *ask).exit_code == 2
        right = server.ivr("subject", "find", "--reference", code_in(heard)[:12], *ask)
        assert right.exit_code == 2
        assert "tried in vain" in right.stderr
    with server.serving():  # a restart forgets nothing: the tries are in the log
        assert server.ivr("subject", "find", "--reference", code_in(heard)[:12], *ask).exit_code == 2
    tried = server.events("reference.tried")
    assert [event.data["found"] for event in tried] == [False] * (GUESSES + 2)
    assert [bool(event.data.get("refused")) for event in tried] == [False] * GUESSES + [True] * 2
    assert {event.personal["who"] for event in tried} == {"officer"}
