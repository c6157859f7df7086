# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr drain` and `ivr undrain` say in plain words what holds now, what comes next, and how to see that it is done."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ivr.cli import drain, main, undrain
from ivr.cli.drain_words import drained, undrained


def worker(name: str, calls: int = 0, closed: bool = True, leaving: str | None = None) -> dict[str, Any]:
    return {"name": name, "calls": ["c"] * calls, "closed": closed, "leaving": leaving}


def status(*workers: dict[str, Any], state: str = "ready", held: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"workers": list(workers), "state": state, "held": list(held)}


def test_a_worker_with_calls_says_how_many_until_when_and_how_to_watch() -> None:
    first, calls, how = drained("w3", ["w3"], status(worker("w3", 2), worker("w4", 5)))
    assert first == "w3 takes no new calls (the other workers get them) until: ivr undrain w3"
    assert calls == "2 calls are up, and go on to their end"
    assert "`ivr drain w3 --wait SECONDS`" in how
    assert "log" in how
    assert drained("w3", ["w3"], status(worker("w3", 1)))[1] == "1 call is up, and goes on to its end"


def test_a_drain_is_done_only_when_the_worker_has_answered() -> None:
    assert drained("w3", ["w3"], status(worker("w3")))[1:] == ["w3 is drained: no call is up"]
    assert "not every worker has answered" in drained("w3", ["w3"], status(worker("w3", closed=False)))[1]
    assert drained("w3", [], status())[1:] == ["w3 does not run at the moment, and is not started until then"]


def test_a_node_says_what_callers_get() -> None:
    node = drained("node", ["w0", "w1"], status(worker("w0", 1), worker("w1", 2)))
    assert node[0] == "the node takes no new calls (callers get 503) until: ivr undrain"
    assert node[1].startswith("3 calls")


def test_undraining_says_what_keeps_calls_away_still() -> None:
    assert undrained("w3", ["w3"], status(worker("w3"))) == ["w3 takes new calls again"]
    assert "whole node is drained" in undrained("w3", ["w3"], status(worker("w3"), state="draining"))[0]
    assert "on its way out (upgrade)" in undrained("w3", ["w3"], status(worker("w3", leaving="upgrade")))[0]
    assert "does not run" in undrained("w3", [], status())[0]
    node = undrained("node", ["w0"], status(worker("w0"), held=("w2",)))
    assert node == ["the node takes new calls again", "still drained, because it was by name: w2 (ivr undrain w2)"]


def said(monkeypatch: pytest.MonkeyPatch, answers: list[dict[str, Any]], *words: str) -> Result:
    """The command against a pool that gives these statuses, the last one for ever."""

    def asked(_command: str, _config: Path, request: Mapping[str, Any]) -> dict[str, Any]:
        if request["op"] == "status":
            return {"status": answers.pop(0) if len(answers) > 1 else answers[0]}
        return {"workers": ["w3"]}

    monkeypatch.setattr(drain, "asked", asked)
    monkeypatch.setattr(undrain, "asked", asked)
    return CliRunner().invoke(main, list(words))


def test_data_is_on_stdout_and_talk_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    done = said(monkeypatch, [status(worker("w3", 2))], "drain", "w3")
    assert (done.exit_code, done.stdout) == (0, "w3 2\n")
    assert "ivr drain: 2 calls are up" in done.stderr
    back = said(monkeypatch, [status(worker("w3", 2))], "undrain", "w3")
    assert (back.exit_code, back.stdout, back.stderr) == (0, "w3\n", "ivr undrain: w3 takes new calls again\n")


def test_waiting_ends_with_the_workers_word_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [status(worker("w3", closed=False)), status(worker("w3", 1)), status(worker("w3"))]
    done = said(monkeypatch, answers, "drain", "w3", "--wait", "20")
    assert (done.exit_code, done.stdout) == (0, "w3 0\n")
    assert "w3 is drained" in done.stderr
    late = said(monkeypatch, [status(worker("w3", 1))], "drain", "w3", "--wait", "0.1")
    assert (late.exit_code, late.stdout) == (1, "w3 1\n")
