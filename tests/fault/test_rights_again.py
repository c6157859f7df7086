# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr subject erase` that dies in the middle, or whose ledger does: the same command finishes it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from ivr.cli.rights_common import known, ledger
from ivr.ledger.errors import LedgerFatal, LedgerRefused
from ivr.ledger.log import Entry
from ivr.ledger.personal import Erasing
from ivr.ledger.sealed import SUBJECT_SLOT, SubjectSecrets
from ivr.ledger.store import Store
from ivr.ledger.tool import LedgerTool
from ivr.rights import erase as erasing
from ivr.vault.store import RecordingStore
from rights_kit import NUMBER, MadeCall, Server, make_server

CLAIM = {"scope": "subject", "events": [], "fields": 0, "secrets": 0, "recordings": [], "held": [], "why": "x"}
STEPS = ((RecordingStore, "erase"), (LedgerTool, "append"), (LedgerTool, "erase"))
TAKEN = 2 * 2 + 4
"""Two recordings, each erased and then logged; an event for each of two calls, another request and the request."""


class Killed(BaseException):
    """Nothing of the command runs after this."""


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return make_server(tmp_path)


def opened(server: Server) -> str:
    done = server.ivr("subject", "open", "--number", NUMBER, "--json", "--identity", str(server.officer))
    assert done.exit_code == 0, done.output
    return str(json.loads(done.stdout)["request"])


def erased(server: Server, request: str) -> Result:
    return server.by_officer("subject", "erase", request)


def gone(server: Server, *calls: MadeCall) -> None:
    """Nothing of this person is left, and the log says so and holds."""
    with server.serving():
        found = server.ivr("subject", "find", "--number", NUMBER, "--json", "--identity", str(server.officer))
        assert json.loads(found.stdout) == {"calls": [], "requests": []}
    assert all(not server.store.key_file(call.recording).exists() for call in calls)
    assert {event.data["recording"] for event in server.events("recording.erased")} == {c.recording for c in calls}
    named = [event for event in server.events() if {"caller", "subject"} & event.personal.keys()]
    assert named == []
    assert server.findings() == []


def dies_at(patch: pytest.MonkeyPatch, step: int) -> list[str]:
    """From here on the command dies before this step; the steps that it came to."""
    taken: list[str] = []

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def done(*args: Any, **more: Any) -> Any:
            if len(taken) == step:
                raise Killed
            taken.append(name)
            return real(*args, **more)

        return done

    for owner, name in STEPS:
        patch.setattr(owner, name, counted(f"{owner.__name__}.{name}", getattr(owner, name)))
    return taken


@pytest.mark.parametrize("step", range(TAKEN))
def test_the_same_command_finishes_what_was_killed_before_any_step(
    server: Server, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(erasing, "_FIELDS_AT_ONCE", 1)
    calls = [server.call(seed=1), server.call(seed=5)]
    with server.serving():
        request = opened(server)
        opened(server)  # by another letter; it is found by the same number
        with monkeypatch.context() as patch:
            taken = dies_at(patch, step)
            with pytest.raises(Killed):
                erased(server, request)
            assert len(taken) == step
        done = erased(server, request)
        assert done.exit_code == 0, done.output
    gone(server, *calls)


def test_an_erasure_has_so_many_steps_and_is_not_done_twice(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "_FIELDS_AT_ONCE", 1)
    calls = [server.call(seed=1), server.call(seed=5)]
    with server.serving():
        request = opened(server)
        opened(server)
        with monkeypatch.context() as patch:
            taken = dies_at(patch, TAKEN)
            assert erased(server, request).exit_code == 0
            assert len(taken) == TAKEN
        again = erased(server, request)
        assert "names nobody any more" in again.stderr
    gone(server, *calls)


def test_more_recordings_than_fields_do_not_part_a_request_from_its_person(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What names recordings takes more events than the fields do: the request must go with the last of them."""
    monkeypatch.setattr(erasing, "_NAMES_AT_ONCE", 1)
    calls = [server.call(seed=1), server.call(seed=5)]
    with server.serving():
        request = opened(server)
        with monkeypatch.context() as patch:
            dies_at(patch, 2 * 2 + 1)
            with pytest.raises(Killed):
                erased(server, request)
        assert erased(server, request).exit_code == 0
    gone(server, *calls)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize(
    ("owner", "step"),
    [(SubjectSecrets, "condemn"), (SubjectSecrets, "destroy"), (Store, "write"), (SubjectSecrets, "forget")],
)
def test_the_same_command_finishes_what_the_ledger_died_over(
    server: Server, monkeypatch: pytest.MonkeyPatch, owner: type, step: str, parts: int
) -> None:
    """`condemn` has only marked, at `write` every secret is gone and no row is, at `forget` all is done but one."""
    server.call(recorded=False)
    with server.serving():
        request = opened(server)
    log = server.open_log()
    matches = log.personal.find_number(NUMBER)
    fields = [(match.seq, None if match.name == "caller" else match.name) for match in matches]
    if parts == 2:
        log.append([Entry("subject.erased", None, CLAIM, {"who": "officer"}, erases=Erasing((fields.pop(0),)))])
    with monkeypatch.context() as patch:

        def breaks(*_: object, **__: object) -> None:
            raise LedgerFatal("the power went")

        patch.setattr(owner, step, breaks)
        last = Entry("subject.erased", None, CLAIM, {"who": "officer"}, erases=Erasing(tuple(fields), NUMBER))
        with pytest.raises(LedgerFatal):
            log.append([last])
    log.close()
    with server.serving():
        done = erased(server, request)
        if step == "forget":
            assert "names nobody any more" in done.stderr
        else:
            assert done.exit_code == 0, done.output
    gone(server)
    secrets = (server.settings.storage.subjects / "subjects.keys").read_bytes()
    assert not any(secrets[:SUBJECT_SLOT]), "what leads from the number to its events is left"


def test_a_request_whose_number_went_leads_only_to_its_own_person(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = server.call(caller="+441632960123")
    server.call(recorded=False)
    with server.serving():
        request = opened(server)
    log = server.open_log()
    fields = tuple((match.seq, None) for match in log.personal.find_number(NUMBER))
    with monkeypatch.context() as patch:

        def breaks(*_: object, **__: object) -> None:
            raise LedgerFatal("the power went")

        patch.setattr(Store, "write", breaks)
        with pytest.raises(LedgerFatal):
            log.append([Entry("subject.erased", None, CLAIM, {"who": "o"}, erases=Erasing(fields, NUMBER))])
    log.close()
    with server.serving():
        assert erased(server, request).exit_code == 0
        found = server.ivr("subject", "find", "--number", "+441632960123", "--json", "--identity", str(server.officer))
        assert [row["call"] for row in json.loads(found.stdout)["calls"]] == [other.id]
    assert server.store.key_file(other.recording).exists()
    assert server.findings() == []


def test_a_request_is_found_by_its_place_alone_and_a_place_that_names_nobody_finds_nothing(server: Server) -> None:
    server.call(recorded=False)
    with server.serving():
        opened(server)
        settings = server.settings
        with ledger(settings, known(settings, server.officer), "erase") as tool:
            (asked,) = server.events("subject.request.opened")
            assert {match.type for match in tool.find("request", str(asked.seq))} == {
                "call.received",
                "subject.request.opened",
            }
            assert tool.find("request", "0") == []
            for wrong in ("x", "-1", "²", str(2**63)):
                with pytest.raises(LedgerRefused):
                    tool.find("request", wrong)
