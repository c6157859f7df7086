# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may do what is decided by the ledger, by signature: not by the command that asks."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ivr.ledger.canonical import Json
from ivr.ledger.errors import LedgerMissing, LedgerRefused, LedgerUnavailable
from ivr.ledger.ids import uuid7
from ivr.ledger.people import GRANTS, PEOPLE_HEAD, Role, load_people, person_of, sign_message, signing_key
from ivr.ledger.protocol import Unpacker, pack
from ivr.ledger.tool import LedgerTool, Signer
from ivr.vault.sealing import load_identities
from rights_kit import Server, make_server

RECORDING = "01a1ffd6-be92-7d6c-b3f4-b9f57d7751c7"
ACCESSED: dict[str, Json] = {"recording": RECORDING, "why": "a test"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = make_server(tmp_path)
    with made.serving():
        yield made


def officer(server: Server) -> Signer:
    return Signer("officer", signing_key(str(load_identities(server.officer)[0])))


def tool(server: Server, signer: Signer | None) -> LedgerTool:
    return LedgerTool(server.settings.ledger.socket, "test", signer)


def refused(server: Server, signer: Signer | None, who: str = "officer") -> str:
    with tool(server, signer) as ledger, pytest.raises(LedgerRefused) as caught:
        ledger.append("recording.accessed", data=ACCESSED, personal={"who": who})
    assert server.events("recording.accessed") == []
    return caught.value.code


def test_only_the_officers_own_signature_counts(server: Server) -> None:
    right = officer(server)
    stranger = signing_key("AGE-SECRET-KEY-1STRANGER")
    assert refused(server, None) == "forbidden"
    assert refused(server, Signer("officer", stranger)) == "forbidden"
    assert refused(server, Signer("nobody", right.key)) == "forbidden"
    assert refused(server, right, who="somebody else") == "forbidden"
    with tool(server, right) as ledger:
        ledger.append("recording.accessed", data=ACCESSED, personal={"who": "officer"})
    assert len(server.events("recording.accessed")) == 1


def asked(server: Server, message: dict[str, Any], role: str = "tool") -> dict[str, Any]:
    """A message as it is, over the socket."""
    import socket

    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(10)
        line.connect(str(server.settings.ledger.socket))
        line.sendall(pack({"op": "hello", "v": 1, "worker": "x", "role": role, "live": []}))
        line.sendall(pack(message | {"n": 1}))
        unpacker = Unpacker()
        while True:
            for answer in unpacker.feed(line.recv(65536)):
                if answer["op"] != "welcome":
                    return answer


def signed(server: Server, **changed: Any) -> dict[str, Any]:
    message: dict[str, Any] = {"op": "append", "id": uuid7(), "type": "recording.accessed", "call": None}
    message |= {"data": ACCESSED, "personal": {"who": "officer"}} | changed
    one = officer(server)
    sign_message(message, one.name, one.key)
    return message


def test_a_signature_is_for_this_message_once(server: Server) -> None:
    message = signed(server)
    for change in (
        {"data": {**ACCESSED, "why": "another"}},
        {"id": uuid7()},
        {"type": "recording.exported", "data": {**ACCESSED, "format": "wav"}},
        {"call": uuid7()},
    ):
        assert asked(server, {**message, **change})["code"] == "forbidden", change
    assert asked(server, message, role="worker")["code"] == "forbidden"
    assert asked(server, message)["op"] == "ack"
    assert asked(server, message)["code"] == "invalid"  # the same id again
    assert len(server.events("recording.accessed")) == 1


def test_an_erasure_is_for_these_fields(server: Server) -> None:
    data = {"scope": "call", "events": [], "fields": 0, "secrets": 0, "recordings": [], "held": [], "why": "x"}
    message = signed(server, op="erase", type="subject.erased", data=data, fields=[[0, None]])
    assert asked(server, {**message, "fields": [[1, None]]})["code"] == "forbidden"
    assert asked(server, {**message, "subject": "+4930123456"})["code"] == "forbidden"
    assert asked(server, {**message, "op": "append"})["code"] == "invalid"
    assert asked(server, message)["op"] == "ack"
    # An event that claims an erasure is written with one, or not at all.
    assert asked(server, signed(server, type="subject.erased", data=data))["code"] == "invalid"


@pytest.mark.parametrize("kind", ["retention.applied", "subject.request.closed"])
def test_a_worker_has_no_rights(server: Server, kind: str) -> None:
    message = {"op": "append", "id": uuid7(), "type": kind, "call": None, "personal": {}}
    data = {"rule": "personal", "recordings": 0} if kind == "retention.applied" else {"request": "x"}
    data |= {} if kind == "retention.applied" else {"outcome": "answered", "late": False, "why": "x"}
    assert asked(server, {**message, "data": data}, role="worker")["code"] == "forbidden"
    fields = {
        "op": "erase",
        "type": "retention.applied",
        "fields": [[0, None]],
        "data": {"rule": "personal", "recordings": 0},
    }
    assert asked(server, {**message, **fields}, role="worker")["code"] == "forbidden"
    find = {"op": "find", "id": uuid7(), "by": "number", "value": "+4930123456"}
    assert asked(server, find, role="worker")["code"] == "forbidden"
    assert asked(server, find, role="tool")["code"] == "forbidden"  # nor has a tool that nobody signed for


@pytest.mark.parametrize("role", ["operator", "auditor"])
def test_a_good_signature_of_the_wrong_role_is_refused(server: Server, tmp_path: Path, role: str) -> None:
    """By the ledger itself: the command that asks may have been changed."""
    other = tmp_path / "other.age"
    assert server.ivr("access", "add", "olga", "--role", role, "--identity", str(other)).exit_code == 0
    signer = Signer("olga", signing_key(str(load_identities(other)[0])))
    assert refused(server, signer, who="olga") == "forbidden"
    data = {"scope": "call", "events": [], "fields": 0, "secrets": 0, "recordings": [], "held": [], "why": "x"}
    with tool(server, signer) as ledger, pytest.raises(LedgerRefused):
        ledger.erase("subject.erased", [(0, None)], data=data, personal={"who": "olga"})


def test_whoever_leaves_is_refused_at_once(server: Server, tmp_path: Path) -> None:
    other = tmp_path / "other.age"
    assert server.ivr("access", "add", "olga", "--role", "officer", "--identity", str(other)).exit_code == 0
    signer = Signer("olga", signing_key(str(load_identities(other)[0])))
    with tool(server, signer) as ledger:
        ledger.append("recording.accessed", data=ACCESSED, personal={"who": "olga"})
        assert server.ivr("access", "remove", "olga").exit_code == 0
        with pytest.raises(LedgerRefused):
            ledger.append("recording.accessed", data=ACCESSED, personal={"who": "olga"})


def test_the_list_shows_roles_and_a_key_that_is_nobodys(server: Server, tmp_path: Path) -> None:
    shown = server.ivr("access", "list", "--json")
    assert shown.exit_code == 0
    (first,) = json.loads(shown.stdout)["people"]
    assert (first["name"], first["role"]) == ("officer", "officer")
    operator = tmp_path / "o.age"
    added = server.ivr("access", "add", "olga", "--role", "operator", "--identity", str(operator))
    assert operator.stat().st_mode & 0o777 == 0o600
    with (server.folder / "keys/recipients.txt").open("a") as file:
        file.write(added.stdout)
    listed = server.ivr("access", "list")
    assert listed.exit_code == 1
    assert "NOBODY'S" in listed.stdout
    assert server.ivr("access", "add", "olga", "--role", "auditor", "--identity", str(tmp_path / "x")).exit_code == 2
    twice = server.ivr("access", "add", "other", "--role", "officer", "--identity", str(operator))
    assert twice.exit_code == 2
    assert "of their own" in twice.stderr


def test_a_broken_list_is_told_with_its_line(tmp_path: Path) -> None:
    person = person_of("a", Role.AUDITOR, "AGE-SECRET-KEY-1A", "age1a")
    path = tmp_path / "people.txt"
    for bad in ("boss a b", "officer x", person.line().replace("auditor", "king"), f"{person.line()}\n{person.line()}"):
        path.write_text(f"{PEOPLE_HEAD}{bad}\n")
        with pytest.raises(LedgerMissing, match=r"people.txt:[23]"):
            load_people(path)
    with pytest.raises(LedgerMissing, match="ivr access add"):
        load_people(tmp_path / "none.txt")


def test_an_auditor_may_change_and_open_nothing() -> None:
    assert not any(Role.AUDITOR in granted for granted in GRANTS.values())
    assert all(Role.OFFICER in granted for granted in GRANTS.values())


def test_without_a_ledger_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable, match="Nothing was done"):
        LedgerTool(tmp_path / "none.sock", "test")
