# SPDX-License-Identifier: GPL-3.0-or-later
"""The generated files: the same every time, readable by whom they should be, and right in Kamailio's own eyes."""

import os
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from demo.server import ivr
from ivr.node.edge.check import check
from ivr.node.edge.files import stale, write_all
from ivr.node.edge.model import EdgePlan
from ivr.node.edge.render import ADDRESSES, CFG, DESTINATIONS, MASK, render
from ivr.node.edge.run import EdgeError, user_for
from ivr.node.edge.tlsfiles import TlsFileError, read_tls
from ivr.node.load import load
from ivr.node.settings import EdgeTls, Settings


def server(folder: Path, edge: dict[str, object], *targets: str) -> EdgePlan:
    folder.mkdir(exist_ok=True)
    (folder / "flows").mkdir(exist_ok=True)
    bridge = {"bridge": {"targets": list(targets or ["sip:a@127.0.0.1:9"]), "fallback": "end", "record": "never"}}
    step = {"consent": {"mode": "never", "lawful_basis": "contract"}}
    flow = {"numbers": ["default"], "language": "en", "sections": {"main": [step, bridge, "hangup"], "end": ["hangup"]}}
    (folder / "flows" / "f.yaml").write_text(yaml.safe_dump({"flows": {"test": flow}}, sort_keys=False))
    settings = {"pool": {"max": 3}, "edge": edge}
    (folder / "server.yaml").write_text(yaml.safe_dump(settings))
    loaded = load(folder)
    return EdgePlan.of(loaded.settings, loaded.flows)


EVERYTHING: dict[str, object] = {
    "listen": [
        {"address": "192.0.2.1", "transports": ["udp", "tcp"], "advertise": "198.51.100.1:5099"},
        {"address": "2001:db8::1", "port": 5070},
    ],
    "trunks": [
        {"name": "wide", "sources": ["10.0.0.0/8"]},
        {"name": "narrow", "sources": ["10.1.0.0/16", "2001:db8::/32"], "hosts": ["sip:10.1.0.1", "sip:[2001:db8::5]"]},
        {"name": "port", "sources": ["10.1.0.0/16"], "port": 5070},
        {"name": "one", "sources": ["10.1.1.1"]},
        {"name": "one-port", "sources": ["10.1.1.1"], "port": 5080},
    ],
    "agents": ["203.0.113.0/24"],
}


def test_the_same_settings_give_the_same_files(tmp_path: Path) -> None:
    one, two = (server(tmp_path / name, EVERYTHING) for name in ("one", "two"))
    assert render(one) == render(two)
    assert str(tmp_path) not in "".join(render(one).values())


def test_nothing_is_left_to_fill_in(tmp_path: Path) -> None:
    for text in render(server(tmp_path, EVERYTHING)).values():
        assert "@INSIDE" not in text
        assert "None" not in text


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_of_several_trunks_the_most_exact_counts(tmp_path: Path) -> None:
    found = lines(render(server(tmp_path, EVERYTHING))[ADDRESSES])
    trunks = [line for line in found if line.startswith("1 ")]
    # Of single addresses Kamailio asks the last line first, of networks the first.
    assert trunks == [
        "1 10.1.1.1 32 0 one",
        "1 10.1.1.1 32 5080 one-port",
        "1 10.1.0.0 16 5070 port",
        "1 10.1.0.0 16 0 narrow",
        "1 10.0.0.0 8 0 wide",
        "1 [2001:db8::] 32 0 narrow",
    ]


def test_calls_may_be_sent_to_targets_of_flows_hosts_of_trunks_and_named_agents(tmp_path: Path) -> None:
    found = lines(render(server(tmp_path, EVERYTHING, "sip:a@192.0.2.50:5060", "sip:b@narrow"))[ADDRESSES])
    agents = [line.split()[1] for line in found if line.startswith("3 ")]
    assert sorted(agents) == ["10.1.0.1", "192.0.2.50", "203.0.113.0", "[2001:db8::5]"]


def test_every_slot_is_listed_and_waits_to_be_enabled(tmp_path: Path) -> None:
    found = lines(render(server(tmp_path, EVERYTHING))[DESTINATIONS])
    assert found[:3] == [f"1 sip:127.0.0.1:{15000 + n} 1 0 duid=w{n};maxload=2;sockname=int" for n in range(3)]
    assert found[3:] == [
        "101 sip:10.1.0.1 0 2 duid=narrow/0;sockname=pub0udp",
        "101 sip:[2001:db8::5] 0 1 duid=narrow/1;sockname=pub1udp",
    ]


def test_only_the_owner_reads_the_key_of_topology_hiding_and_it_stays(tmp_path: Path) -> None:
    plan = server(tmp_path / "server", EVERYTHING)
    write_all(plan)
    assert stat.S_IMODE(plan.folder.stat().st_mode) == 0o750
    mask = plan.folder / MASK
    assert stat.S_IMODE(mask.stat().st_mode) == 0o600
    before = mask.read_bytes()
    write_all(plan)
    assert mask.read_bytes() == before
    assert stat.S_IMODE((plan.folder / CFG).stat().st_mode) == 0o640
    other = server(tmp_path / "other", EVERYTHING)
    write_all(other)
    assert (other.folder / MASK).read_bytes() != before


def test_kamailio_reads_what_is_generated_and_nothing_is_left_behind(tmp_path: Path) -> None:
    plan = server(tmp_path, EVERYTHING)
    assert check(plan) == []
    assert not plan.folder.exists()


def test_what_kamailio_cannot_read_is_told_in_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ivr.node.edge.files.render",
        lambda plan: {
            name: text.replace("mf_process_maxfwd_header(", "no_such(") for name, text in render(plan).items()
        },
    )
    (finding,) = check(server(tmp_path, EVERYTHING))
    assert "failed to find command no_such" in finding.what
    assert '"message"' not in finding.what  # the running one writes JSON for our scribe; people read this


@pytest.mark.parametrize(
    ("edge", "targets", "at", "what"),
    [
        ({"listen": [{"address": "192.0.2.1"}]}, [], "edge.trunks", "nobody could call"),
        ({}, ["sip:a@pbx.example"], "flow test", "neither an address nor a trunk"),
        ({}, ["sip:a@127.0.0.1;transport=tcp"], "flow test", "which the edge does not listen on"),
        ({}, ["sip:a@[2001:db8::1]"], "flow test", "on no address of that family"),
        ({"user": "no-such-user-here"}, [], "edge.user", "no user no-such-user-here"),
    ],
)
def test_check_finds(tmp_path: Path, edge: dict[str, object], targets: list[str], at: str, what: str) -> None:
    if at == "edge.user" and os.geteuid() != 0:
        assert user_for("no-such-user-here") is None
        return
    found = check(server(tmp_path, edge, *targets))
    assert [(finding.at, what in finding.what) for finding in found] == [(at, True)]


def test_root_becomes_somebody_else_and_never_root() -> None:
    if os.geteuid() != 0:
        assert user_for(None) is None
        return
    assert user_for(None).pw_uid != 0  # type: ignore[union-attr]
    with pytest.raises(EdgeError, match="must not be"):
        user_for("root")


# -- certificates ----------------------------------------------------------------------------------------------------


def certificate(folder: Path, name: str, *more: str) -> EdgeTls:
    pem, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=x",
    ]
    subprocess.run([*command, "-out", str(pem), "-keyout", str(key), *more], check=True, capture_output=True)
    return EdgeTls(certificate=pem, key=key)


def test_certificate_and_key_must_belong_together_and_be_in_force(tmp_path: Path) -> None:
    one, two = certificate(tmp_path, "one"), certificate(tmp_path, "two")
    assert read_tls(one).certificate == one.certificate.read_bytes()
    for mixed, what in (
        (EdgeTls(certificate=one.certificate, key=two.key), "is not the key of"),
        (EdgeTls(certificate=one.key, key=one.key), "holds no certificate"),
        (EdgeTls(certificate=one.certificate, key=one.certificate), "no private key"),
        (EdgeTls(certificate=tmp_path / "none", key=one.key), "cannot be read"),
    ):
        with pytest.raises(TlsFileError, match=what):
            read_tls(mixed)
    with pytest.raises(TlsFileError, match="expired on"):
        read_tls(one, datetime.now(UTC) + timedelta(days=400))


def test_a_target_over_tls_needs_roots_to_check_it_by(tmp_path: Path) -> None:
    own = certificate(tmp_path, "own")
    tls = {"certificate": str(own.certificate), "key": str(own.key)}
    listen = [{"address": "127.0.0.1", "port": 5061, "transports": ["tls"]}]
    trunks = [{"name": "pbx", "sources": ["127.0.0.1"]}]
    target = "sip:a@127.0.0.1:9;transport=tls"
    found = check(server(tmp_path, {"listen": listen, "trunks": trunks, "tls": tls}, target))
    assert [(finding.at, finding.do) for finding in found] == [("flow test", "edge.tls.trust")]
    trusted = {**tls, "trust": str(own.certificate)}
    assert check(server(tmp_path, {"listen": listen, "trunks": trunks, "tls": trusted}, target)) == []


def test_a_front_edge_needs_no_flows(tmp_path: Path) -> None:
    edge = {
        "listen": [{"address": "127.0.0.1"}],
        "trunks": [{"name": "pbx", "sources": ["127.0.0.1"]}],
        "nodes": [{"name": "a", "address": "127.0.0.2", "calls": 2}],
    }
    (tmp_path / "server.yaml").write_text(yaml.safe_dump({"edge": edge}))
    made = ivr("edge", "check", "--config", tmp_path)
    assert (made.status, made.out) == (0, ""), made.err
    assert "dispatcher" in ivr("edge", "config", "--config", tmp_path).out


def test_settings_alone_tell_the_control_where_workers_are(tmp_path: Path) -> None:
    server(tmp_path, {})
    assert [place.name for place in EdgePlan.of(Settings.load(tmp_path)).places] == ["w0", "w1", "w2"]


def test_a_new_agent_makes_the_files_of_a_running_edge_stale(tmp_path: Path) -> None:
    plan = server(tmp_path / "a", {}, "sip:desk@127.0.0.1:5070")
    assert not stale(plan)  # nothing was ever started
    write_all(plan)
    assert not stale(plan)
    other = server(tmp_path / "b", {}, "sip:desk@127.0.0.1:5070", "sip:new@192.0.2.77")
    (tmp_path / "b" / "run" / "edge").mkdir(parents=True, exist_ok=True)
    (tmp_path / "b" / "run" / "edge" / "address.list").write_text((plan.folder / "address.list").read_text())
    assert stale(other)
