# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr log verify --all-nodes`: a verdict a log and one in all; what two logs share; a log that is not reached."""

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
import yaml

from nodes_kit import Site, make_site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = make_site(tmp_path)
    for server in made.nodes.values():
        server.call()
        server.call(recorded=False)
    return made


def test_all_hold(site: Site) -> None:
    done = site.ivr("log", "verify")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert any(line.startswith("a: HOLDS. example.org/a: ") for line in lines)
    assert any(line.startswith("b: HOLDS. example.org/b: ") for line in lines)
    assert lines[-1].startswith("ALL HOLD. 2 logs, ")
    assert lines[-1].endswith("events of 4 calls")
    said = json.loads(site.ivr("log", "verify", "--json").stdout)
    assert (said["holds"], said["complete"], said["missing"], said["findings"]) == (True, True, {}, [])
    assert {name: one["calls"] for name, one in said["nodes"].items()} == {"a": 2, "b": 2}
    assert all(one["files_checked"] for one in said["nodes"].values())


def test_a_log_that_cannot_be_reached_is_named_and_never_skipped(site: Site) -> None:
    site.nodes["b"].settings.storage.database.rename(site.desk / "away")
    done = site.ivr("log", "verify")
    assert done.exit_code == 3
    lines = done.stdout.splitlines()
    assert any(line.startswith("a: HOLDS") for line in lines)
    assert any(line.startswith("b: NOT REACHED: ") for line in lines)
    assert lines[-1].startswith("INCOMPLETE. 1 logs")
    assert lines[-1].endswith("not reached: b")
    said = json.loads(site.ivr("log", "verify", "--json").stdout)
    assert said["holds"] is False
    assert said["complete"] is False
    assert list(said["missing"]) == ["b"]


def test_none_reached_is_no_verdict(site: Site) -> None:
    for server in site.nodes.values():
        server.settings.storage.database.unlink()
    assert site.ivr("log", "verify").exit_code == 2


def test_a_changed_event_is_found_at_its_node(site: Site) -> None:
    with sqlite3.connect(site.nodes["b"].settings.storage.database) as db:
        db.execute("UPDATE events SET jws = replace(jws, 'a', 'b') WHERE seq = 4")
    db.close()
    done = site.ivr("log", "verify")
    assert done.exit_code == 1
    assert "b: event: event 4" in done.stdout
    assert "a: HOLDS" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("DO NOT ALL HOLD")


def test_a_finding_outweighs_a_log_that_is_away(site: Site) -> None:
    with sqlite3.connect(site.nodes["b"].settings.storage.database) as db:
        db.execute("UPDATE events SET jws = replace(jws, 'a', 'b') WHERE seq = 4")
    db.close()
    site.nodes["a"].settings.storage.database.unlink()
    assert site.ivr("log", "verify").exit_code == 1


def test_name_key_and_calls_are_of_one_log(site: Site) -> None:
    """A server that was copied to make a second one: each log holds, together they do not."""
    calls = {event.call for event in site.nodes["a"].events("call.received")}
    copy = site.desk / "copy"
    shutil.copytree(site.nodes["a"].folder, copy, symlinks=True, ignore=shutil.ignore_patterns("run"))
    rows = [{"name": "a", "folder": str(site.nodes["a"].folder)}, {"name": "c", "folder": str(copy)}]
    (site.desk / "server.yaml").write_text(yaml.safe_dump({"nodes": rows}))
    done = site.ivr("log", "verify", "--json")
    assert done.exit_code == 1
    said = json.loads(done.stdout)
    assert all(one["holds"] for one in said["nodes"].values())
    assert {one["check"] for one in said["findings"]} == {"nodes"}
    assert {one["call"] for one in said["findings"]} == {*calls, None}
    words = [one["message"] for one in said["findings"] if one["call"] is None]
    assert any("is called example.org/a" in line for line in words)
    assert any("a key of the log of c is one of a's" in line for line in words)
    assert not said["holds"]


def test_the_key_is_the_one_that_is_configured(site: Site) -> None:
    site.list_nodes(a={"key": site.vkey("a")}, b={"key": site.vkey("b")})
    assert site.ivr("log", "verify").exit_code == 0
    # The log of somebody else under the name that is listed.
    other = make_site_of_another(site)
    site.list_nodes(a={"key": site.vkey("a")}, b={"key": other})
    done = site.ivr("log", "verify")
    assert done.exit_code == 1
    assert "b: key: log: the key that is configured for it is none of its ledger.vkey" in done.stdout
    assert "a: HOLDS" in done.stdout
    found = site.by_officer("subject", "find", "--number", "1")
    assert found.exit_code in (2, 3)
    assert "is not the key that is configured" in found.stderr


def make_site_of_another(site: Site) -> str:
    (site.desk / "other").mkdir()
    return make_site(site.desk / "other").vkey("b")


def test_two_nodes_with_the_same_folder_name_or_key_are_refused(site: Site) -> None:
    site.list_nodes(a={"key": site.vkey("a")}, b={"key": site.vkey("a"), "name": "a"})
    done = site.ivr("log", "verify")
    assert done.exit_code == 2
    assert done.stderr.count("is a's already") == 2, done.stderr


def test_what_is_no_key_is_refused_with_its_line(site: Site) -> None:
    site.list_nodes(b={"key": "example.org/b+nothing"})
    done = site.ivr("log", "verify")
    assert done.exit_code == 2
    assert "server.yaml:" in done.stderr
    assert "this is no verifier key" in done.stderr


def test_a_kept_checkpoint_is_for_the_log_that_it_is_of(site: Site) -> None:
    for name, server in site.nodes.items():
        (site.desk / f"{name}.note").write_text(server.ivr("log", "checkpoint").stdout)
    kept = [option for name in site.nodes for option in ("--checkpoint", str(site.desk / f"{name}.note"))]
    done = site.ivr("log", "verify", *kept)
    assert done.exit_code == 0, done.output
    assert done.stdout.count("It extends every checkpoint given (1).") == 2
    text = (site.desk / "a.note").read_text()
    (site.desk / "c.note").write_text(text.replace("example.org/a\n", "example.org/c\n", 1))
    done = site.ivr("log", "verify", "--checkpoint", str(site.desk / "c.note"))
    assert done.exit_code == 2
    assert "example.org/c, which no node has" in done.stderr


def test_a_kept_checkpoint_shows_a_cut_at_its_node(site: Site) -> None:
    server = site.nodes["b"]
    (site.desk / "b.note").write_text(server.ivr("log", "checkpoint").stdout)
    with sqlite3.connect(server.settings.storage.database) as db:
        last = db.execute("SELECT max(seq) FROM events").fetchone()[0]
        for table in ("events", "disclosures", "pseudonyms"):
            db.execute(f"DELETE FROM {table} WHERE seq = ?", (last,))
        db.execute("DELETE FROM checkpoints WHERE size > ?", (last,))
    db.close()
    done = site.ivr("log", "verify", "--checkpoint", str(site.desk / "b.note"))
    assert done.exit_code == 1
    assert "b: cut: " in done.stdout
    assert "a: HOLDS" in done.stdout


def test_the_desk_must_list_nodes_and_itself_when_it_is_one(site: Site) -> None:
    (site.desk / "server.yaml").write_text("nodes: []\n")
    done = site.ivr("log", "verify")
    assert done.exit_code == 2
    assert "lists no nodes" in done.stderr
    # A desk that is node b, and lists node a alone: an answer without its own log would look complete.
    there = site.nodes["b"].folder / "server.yaml"
    rows = yaml.safe_dump({"nodes": [{"name": "a", "folder": str(site.nodes["a"].folder)}]})
    there.write_text(there.read_text().replace("nodes: []", "") + "\n" + rows)
    for words in (("log", "verify"), ("retention", "plan")):
        done = site.nodes["b"].ivr(*words, "--all-nodes")
        assert done.exit_code == 2
        assert "is a server itself and not among the nodes" in done.stderr
    there.write_text(there.read_text() + "- {name: b, folder: .}\n")
    done = site.nodes["b"].ivr("log", "verify", "--all-nodes")
    assert done.exit_code == 0, done.output
    assert "ALL HOLD. 2 logs" in done.stdout


def test_what_names_one_log_cannot_stand_beside_all(site: Site) -> None:
    done = site.ivr("log", "verify", "--vkey", site.vkey("a"))
    assert done.exit_code == 2
    assert "--all-nodes" in done.stderr
