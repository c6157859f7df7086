# SPDX-License-Identifier: GPL-3.0-or-later
"""Rights over all nodes: an answer that is not whole says so, what was not done everywhere can be finished."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from ivr.ledger.log import Entry
from ivr.ledger.reference import new_reference
from nodes_kit import Site, make_site
from rights_kit import NUMBER


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def test_a_number_is_found_in_every_log(site: Site) -> None:
    calls = {name: server.call(recorded=name == "a").id for name, server in site.nodes.items()}
    site.nodes["b"].call(recorded=False, caller="+441632960123")
    with site.serving():
        done = site.by_officer("subject", "find", "--number", NUMBER)
        assert done.exit_code == 0, done.output
        assert [line[:39] for line in done.stdout.splitlines()] == [f"{name}: {call}" for name, call in calls.items()]
        said = site.json("subject", "find", "--number", NUMBER)
        assert said["complete"]
        assert {name: [row["call"] for row in one["calls"]] for name, one in said["nodes"].items()} == {
            name: [call] for name, call in calls.items()
        }


def test_an_answer_without_a_node_does_not_look_whole(site: Site) -> None:
    call = site.nodes["a"].call(recorded=False).id
    site.nodes["b"].call(recorded=False)
    with site.serving("a"):
        done = site.by_officer("subject", "find", "--number", NUMBER)
        assert done.exit_code == 3
        assert done.stdout.startswith(f"a: {call}")
        assert "INCOMPLETE: node b: the ledger does not answer at" in done.stderr
        said = site.json("subject", "find", "--number", NUMBER)
        assert not said["complete"]
        assert list(said["missing"]) == ["b"]
    # Nothing found is no comfort either while one is away.
    with site.serving("a"):
        assert site.by_officer("subject", "find", "--number", "+441632960123").exit_code == 3
    with site.serving("b"):
        site.list_nodes(a={"folder": str(site.desk / "nowhere")})
        done = site.by_officer("subject", "find", "--number", NUMBER)
        assert done.exit_code == 3
        assert "INCOMPLETE: node a: " in done.stderr


def test_nobody_answers(site: Site) -> None:
    assert site.by_officer("subject", "find", "--number", NUMBER).exit_code == 2


def test_a_socket_of_another_node_is_refused(site: Site) -> None:
    """Erasing goes by the sequence numbers of one log: a ledger of another log must not be told them."""
    calls = {name: server.call() for name, server in site.nodes.items()}
    file = site.desk / "b/server.yaml"
    wrong = yaml.safe_load(file.read_text()) | {"ledger": {"socket": str(site.nodes["a"].settings.ledger.socket)}}
    file.write_text(yaml.safe_dump(wrong))
    with site.serving():
        done = site.by_officer("erase", "--number", NUMBER, "--reason", "x")
        assert done.exit_code == 3
        assert "is the ledger of example.org/a, not that of example.org/b: nothing was done" in done.stderr
    assert site.nodes["b"].store.key_file(calls["b"].recording).exists()
    assert not site.nodes["a"].store.key_file(calls["a"].recording).exists()
    assert len(site.nodes["a"].events("subject.erased")) == 1
    assert not site.nodes["b"].events("subject.erased")


def test_an_erasure_is_finished_when_the_node_is_back(site: Site) -> None:
    calls = {name: server.call() for name, server in site.nodes.items()}
    with site.serving("b"):
        done = site.by_officer("erase", "--number", NUMBER, "--reason", "17")
        assert done.exit_code == 3
        assert f"b: recording {calls['b'].recording}" in done.stdout
        assert "INCOMPLETE: node a: " in done.stderr
    with site.serving():
        done = site.by_officer("erase", "--number", NUMBER, "--reason", "17", "--json")
        assert done.exit_code == 0, done.output
        said = json.loads(done.stdout)
        assert said["complete"]
        assert said["nodes"]["a"]["recordings"] == [calls["a"].recording]
        assert said["nodes"]["b"]["recordings"] == []
        found = site.json("subject", "find", "--number", NUMBER)
        assert all(not one["calls"] for one in found["nodes"].values())
    for name, server in site.nodes.items():
        assert not server.store.key_file(calls[name].recording).exists()
        assert not server.findings()


def test_a_key_store_that_is_not_mounted_is_no_erasure(site: Site) -> None:
    for server in site.nodes.values():
        server.call(days_ago=40)
    (site.desk / "empty").mkdir()
    file = site.desk / "b/server.yaml"
    reached = yaml.safe_load(file.read_text())
    reached["storage"]["keystore"] = str(site.desk / "empty")
    file.write_text(yaml.safe_dump(reached))
    with site.serving():
        for words in (("erase", "--number", NUMBER, "--reason", "x"), ("retention", "run")):
            done = site.by_officer(*words) if words[0] == "erase" else site.ivr(*words)
            assert done.exit_code == 3, done.output
            assert "INCOMPLETE: node b: " in done.stderr
            assert "is it mounted? Nothing was done" in done.stderr
    assert not site.nodes["b"].events("recording.erased")
    assert len(site.nodes["a"].events("recording.erased")) == 1


def test_retention_runs_on_every_node(site: Site) -> None:
    for server in site.nodes.values():
        server.call(days_ago=40)
        server.call(days_ago=1)
    plan = site.ivr("retention", "plan", "--days", "0")
    assert plan.exit_code == 0, plan.output
    assert [line[:2] for line in plan.stdout.splitlines()] == ["a:", "b:"]
    assert all("due" in line for line in plan.stdout.splitlines())
    with site.serving("a"):
        done = site.ivr("retention", "run")
        assert done.exit_code == 3
        assert done.stdout == "a: gone: 1 recordings; personal fields: none\n"
    with site.serving():
        done = site.ivr("retention", "run", "--json")
        assert done.exit_code == 0, done.output
        gone = {name: len(one["recordings"]) for name, one in json.loads(done.stdout)["nodes"].items()}
        assert gone == {"a": 0, "b": 1}
    assert site.ivr("log", "verify").exit_code == 0


def test_a_request_has_one_id_and_one_clock_everywhere(site: Site) -> None:
    calls = {name: server.call() for name, server in site.nodes.items()}
    with site.serving("a"):
        done = site.by_officer("subject", "open", "--number", NUMBER)
        assert done.exit_code == 3
        request = done.stdout.split()[1]
        assert f"the same command with --again {request}" in done.stderr
    with site.serving():
        done = site.by_officer("subject", "open", "--number", NUMBER, "--again", request)
        assert done.exit_code == 0, done.output
        assert done.stdout.startswith(f"b: {request} due ")
        assert f"a: request {request} is open here" in done.stderr
        shown = site.ivr("subject", "list")
        assert [line.split()[:2] for line in shown.stdout.splitlines()] == [["a:", request], ["b:", request]]

        assert site.by_officer("subject", "erase", request[:8], "--reason", "x").exit_code == 2
        output = site.desk / "answer.zip"
        done = site.by_officer("subject", "package", request, "--output", str(output), "--reason", "15")
        assert done.exit_code == 0, done.output
        assert {path.name for path in site.desk.glob("*.zip")} == {"answer-a.zip", "answer-b.zip"}

    with site.serving("b"):
        done = site.by_officer("subject", "erase", request, "--reason", "17")
        assert done.exit_code == 3
    with site.serving():
        done = site.by_officer("subject", "erase", request, "--reason", "17")
        assert done.exit_code == 0, done.output
        assert f"a: recording {calls['a'].recording}" in done.stdout
        assert f"b: request {request} names nobody any more" in done.stderr
        done = site.by_officer("subject", "close", request, "--outcome", "erased", "--reason", "17")
        assert done.exit_code == 0, done.output
        assert done.stdout.count("closed: erased") == 2
        done = site.by_officer("subject", "close", request, "--outcome", "erased", "--reason", "17")
        assert done.exit_code == 0
        assert done.stderr.count("was closed on") == 2
        assert not site.ivr("subject", "list").stdout
        unknown = "01a1ffdd-0000-7000-8000-000000000000"
        assert site.by_officer("subject", "close", unknown, "--outcome", "erased", "--reason", "x").exit_code == 2


def test_a_number_that_cannot_be_read_here_is_not_taken_for_erased(site: Site) -> None:
    for server in site.nodes.values():
        server.call()
    with site.serving():
        request = site.by_officer("subject", "open", "--number", NUMBER).stdout.split()[1]
        file = site.desk / "b/server.yaml"
        reached = yaml.safe_load(file.read_text())
        del reached["storage"]["subjects"]
        file.write_text(yaml.safe_dump(reached))
        done = site.by_officer("subject", "package", request, "--output", str(site.desk / "x.zip"), "--reason", "15")
        assert done.exit_code == 3
        assert f"INCOMPLETE: node b: the number of request {request} cannot be read here" in done.stderr
        # Its own ledger can, or knows whose it was.
        done = site.by_officer("subject", "erase", request, "--reason", "17")
        assert done.exit_code == 0, done.output
    assert len(site.nodes["b"].events("recording.erased")) == 1


def test_overdue_anywhere_is_loud(site: Site) -> None:
    with site.serving():
        done = site.by_officer("subject", "open", "--number", NUMBER, "--received", "2026-01-02")
        assert done.exit_code == 0, done.output
        assert site.ivr("subject", "list").exit_code == 1


def test_a_hold_is_placed_and_lifted_on_every_node(site: Site) -> None:
    calls = {name: server.call(days_ago=40).id for name, server in site.nodes.items()}
    with site.serving("a"):
        done = site.by_officer("hold", "place", "--number", NUMBER, "--case", "7", "--reason", "court")
        assert done.exit_code == 3
        hold = done.stdout.split()[1]
        assert f"--again {hold}" in done.stderr
    with site.serving():
        again = ("hold", "place", "--number", NUMBER, "--case", "7", "--reason", "court", "--again", hold)
        done = site.by_officer(*again)
        assert done.exit_code == 0, done.output
        assert done.stdout == f"b: {hold}\n"
        assert f"a: hold {hold} is in force" in done.stderr
        assert [line.split()[:2] for line in site.ivr("hold", "list").stdout.splitlines()] == [
            ["a:", hold],
            ["b:", hold],
        ]
        done = site.by_officer("erase", "--number", NUMBER, "--reason", "x")
        assert [done.stdout.count(f"{name}: kept for a legal hold: {call}") for name, call in calls.items()] == [1, 1]
        assert site.by_officer("hold", "lift", "--hold", hold[:13], "--reason", "over").exit_code == 2
        done = site.by_officer("hold", "lift", "--hold", hold, "--reason", "over")
        assert done.stdout == f"a: {hold}\nb: {hold}\n"
        assert not site.ivr("hold", "list").stdout


def test_what_is_in_one_log_is_not_erased_over_all(site: Site) -> None:
    for words in (("erase", "--call", "01"), ("erase", "--recording", "01"), ("hold", "place", "--call", "01")):
        done = site.by_officer(*words, "--reason", "x")
        assert done.exit_code == 2
        assert "name that node's folder by --config" in done.stderr


def test_a_person_whom_a_node_does_not_know_is_refused_there(site: Site) -> None:
    shutil.copy(site.nodes["b"].folder / "keys/officer.age", site.desk / "stranger.age")
    site.nodes["b"].call()
    with site.serving():
        done = site.ivr("erase", "--number", NUMBER, "--identity", str(site.desk / "stranger.age"), "--reason", "x")
    assert done.exit_code == 2
    assert done.stderr.count("belongs to nobody") == 2


def test_a_code_is_asked_for_until_a_log_knows_it(site: Site) -> None:
    """Asking on would be a try in vain in every other log; five of them close it for an hour."""
    codes = {name: new_reference() for name in site.nodes}
    calls = {}
    for name, server in site.nodes.items():
        calls[name] = server.call(recorded=False).id
        log = server.open_log()
        log.append([Entry("reference.made", calls[name], {"at_ms": 7, "digits": 12}, index={"reference": codes[name]})])
        log.close()
    with site.serving():
        for name, call in calls.items():
            said = site.json("subject", "find", "--reference", codes[name])
            assert [row["call"] for row in said["nodes"][name]["calls"]] == [call]
        done = site.by_officer("subject", "open", "--reference", codes["a"])
        assert done.exit_code == 0, done.output
        assert site.by_officer("subject", "find", "--reference", "1").exit_code == 2
        done = site.by_officer("subject", "open", "--reference", new_reference())
        assert done.exit_code == 2
    assert [e.data["found"] for e in site.nodes["a"].events("reference.tried")] == [True, False, True, False]
    assert [e.data["found"] for e in site.nodes["b"].events("reference.tried")] == [True, False]
    # The log that may have it is away: nothing found says nothing; found elsewhere says all.
    with site.serving("a"):
        assert site.by_officer("subject", "find", "--reference", codes["b"]).exit_code == 3
    with site.serving("b"):
        assert site.by_officer("subject", "find", "--reference", codes["b"]).exit_code == 0
