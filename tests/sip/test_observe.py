# SPDX-License-Identifier: GPL-3.0-or-later
"""What operators see of real calls: counters that agree with the log, probes, and lines that name no one."""

import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from demo.driver import Peer
from demo.server import free_port
from ivr.ledger.stats import COUNTED
from ivr.node.observe.ledgermetrics import LEDGER
from ivr.node.observe.metrics import METRICS, WATCHED
from sip.barephone import BarePhone
from sip.harness import House

Labels = tuple[str, ...]
Scrape = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def settings() -> dict[str, dict[str, object]]:
    return {"metrics": {"port": free_port(20_000, 22_000)}, "log": {"level": "debug", "format": "json"}}


@pytest.fixture
def url(house: House, settings: dict[str, dict[str, object]]) -> str:
    found = f"http://127.0.0.1:{settings['metrics']['port']}"
    house.server.wrote(found)
    return found


def get(url: str, within: float = 20) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=within) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read()


def scrape(url: str) -> Scrape:
    status, body = get(f"{url}/metrics")
    assert status == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def value(found: Scrape, name: str, **labels: str) -> float:
    return found.get((name, frozenset(labels.items())), 0.0)


def until(condition: Callable[[], bool], what: str, within: float = 30) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        time.sleep(0.1)


def settled(house: House, url: str) -> Scrape:
    """A scrape that knows every event that is in the log."""
    found: list[Scrape] = []

    def whole() -> bool:
        house.server.log.poll()
        found[:] = [scrape(url)]
        return value(found[0], "assent_ledger_log_events") == house.server.log.next

    until(whole, "a scrape of the whole log")
    return found[0]


def ready(url: str) -> tuple[int, dict[str, str]]:
    status, body = get(f"{url}/readyz")
    said: dict[str, Any] = json.loads(body)
    assert said["ready"] is (status == 200)
    return status, {one["what"]: one["why"] for one in said["missing"]}


def calls_of_several_modes(house: House, alice: Peer, bob: Peer) -> list[str]:
    """Recorded, refused, agreed to, never asked, and one whose caller goes in the middle of the notice."""
    recorded = house.ring(alice, "100")
    recorded.wait("recording.started")
    recorded.hang_up()
    refused = house.ring(alice, "100")
    refused.in_notice()
    refused.press("9")
    refused.wait("bridge.started")
    refused.hang_up()
    agreed = house.ring(alice, "200")
    agreed.wait("notice.completed")
    agreed.press("1")
    agreed.wait("recording.started")
    agreed.hang_up()
    never = house.ring(alice, "400")
    never.wait("bridge.started")
    never.hang_up()
    gone = house.ring(alice, "100")
    gone.in_notice()
    gone.hang_up()
    return [line.call for line in (recorded, refused, agreed, never, gone)]


def test_counters_agree_with_the_log(house: House, alice: Peer, bob: Peer, url: str) -> None:
    before = settled(house, url)
    calls_of_several_modes(house, alice, bob)
    house.wait_idle()
    after = settled(house, url)
    logged = house.events()
    wanted: Counter[tuple[str, frozenset[tuple[str, str]]]] = Counter()
    labels = {metric.name.removeprefix("assent_").removesuffix("_total"): metric.labels for metric in LEDGER}
    for event in logged:
        wanted["assent_events_total", frozenset({("type", event.type)})] += 1
        if (counted := COUNTED.get(event.type)) is not None:
            values = (*counted.fixed, *(str(event.data[name]) for name in counted.fields))
            key = frozenset(zip(labels[counted.name], values, strict=True))
            wanted[f"assent_{counted.name}_total", key] += 1
    names = {name for name, _ in wanted} | {f"assent_{one.name}_total" for one in COUNTED.values()}
    grown = {key: n - before.get(key, 0) for key, n in after.items() if key[0] in names and n != before.get(key, 0)}
    assert grown == dict(wanted)
    for mode, decision, source in (
        ("opt_out", "not_objected", "silence"),
        ("opt_out", "refused", "dtmf"),
        ("opt_in", "granted", "dtmf"),
    ):
        key = {"mode": mode, "decision": decision, "source": source}
        assert (
            value(after, "assent_consent_decisions_total", **key)
            - value(before, "assent_consent_decisions_total", **key)
            == 1
        ), key
    assert value(after, "assent_notices_total", result="interrupted", reason="hangup") >= 1
    observed = sum(n for (name, _), n in after.items() if name == "assent_ledger_commit_seconds_count")
    assert observed == sum(n for (name, _), n in after.items() if name == "assent_events_total")
    assert value(after, "assent_permit_wait_seconds_count") >= 2


def test_a_call_that_is_up_is_seen_with_its_state_and_its_recording(
    house: House, alice: Peer, bob: Peer, url: str
) -> None:
    line = house.ring(alice, "100")
    until(lambda: value(scrape(url), "assent_calls", state="notice") == 1, "a call in its notice")
    line.wait("recording.started")
    until(lambda: value(scrape(url), "assent_calls_recorded", recorded="yes") == 1, "a recorded call")
    found = scrape(url)
    assert value(found, "assent_calls", state="bridged") == 1
    assert value(found, "assent_worker_calls", worker="w0") == 1
    assert 0 < value(found, "assent_recording_lag_seconds") < 10
    frame = house.server.ivr("top", "--once", "--json").json
    (call,) = frame["calls"]
    assert (call["call"], call["state"], call["recorded"], call["flow"]) == (line.call, "bridged", "yes", "optout")
    assert call["parties"] == ["caller", "agent-1"]
    shown = house.server.ivr("top", "--once")
    assert line.call[-12:] in shown.out
    line.hang_up()
    until(lambda: value(scrape(url), "assent_calls", state="bridged") == 0, "no call")
    until(lambda: value(scrape(url), "assent_media_packets_received_total", side="agent") > 10, "the agent's packets")
    found = scrape(url)
    assert value(found, "assent_media_jitter_seconds_count", side="caller") >= 1
    assert value(found, "assent_media_packets_received_total", side="caller") > 10


def test_who_is_not_recorded_is_shown_with_the_reason(house: House, alice: Peer, bob: Peer) -> None:
    line = house.ring(alice, "100")
    line.in_notice()
    line.press("9")
    line.wait("bridge.started")
    found: list[dict[str, Any]] = []

    def seen() -> bool:
        found[:] = house.server.ivr("top", "--once", "--json").json["calls"]
        return bool(found) and found[0]["state"] == "bridged"

    until(seen, "the call in ivr top")
    assert (found[0]["recorded"], found[0]["reason"], found[0]["parties"]) == ("no", "refused", [])
    line.hang_up()


def test_every_metric_of_the_code_or_its_part_is_there(house: House, url: str) -> None:
    status, body = get(f"{url}/metrics")
    assert status == 200
    families = {family.name for family in text_string_to_metric_families(body.decode())}
    elsewhere = ("assent_edge_", "assent_front_", "assent_archive_")
    seen_later = {metric.name for metric in METRICS if metric.labels}
    for metric in METRICS:
        if not metric.name.startswith(elsewhere) and metric.name not in seen_later:
            assert metric.name.removesuffix("_total") in families, metric.name


def test_alarms_of_log_watch_are_served_in_its_own_words(house: House, url: str) -> None:
    until(lambda: "assent_alarms" in str(get(f"{url}/metrics")[1]), "the first look at log and files", within=60)
    found = scrape(url)
    assert {name for name, _ in found} >= set(WATCHED)
    assert sum(n for (name, _), n in found.items() if name == "assent_alarms") == 0


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_ledger_that_hangs_makes_the_node_unready_but_not_unhealthy(house: House, url: str) -> None:
    until(lambda: ready(url)[0] == 200, "a node that is ready")
    with stopped(house.server.part("ledger")):
        until(lambda: ready(url)[0] == 503, "a node that is not ready")
        status, lacks = ready(url)
        assert (status, set(lacks)) == (503, {"ledger"})
        assert "did not answer within 1 s" in lacks["ledger"]
        assert get(f"{url}/healthz")[0] == 200
        found = scrape(url)
        assert value(found, "assent_ledger_up") == 0
        assert not [name for name, _ in found if name == "assent_events_total"], "a count that nobody knows is not 0"
    until(lambda: ready(url)[0] == 200, "a node that is ready again")


def test_a_node_that_drains_is_not_ready(house: House, url: str) -> None:
    assert house.server.ivr("drain").status == 0
    try:
        until(lambda: ready(url)[0] == 503, "a node that is not ready")
        assert "draining" in ready(url)[1]["node"]
        until(lambda: value(scrape(url), "assent_draining") == 1, "the gauge")
    finally:
        assert house.server.ivr("undrain").status == 0
    until(lambda: ready(url)[0] == 200, "a node that is ready again")


def test_one_id_leads_through_all_lines_of_a_call_and_none_of_them_names_anybody(
    house: House, alice: Peer, bob: Peer, url: str
) -> None:
    since = len(house.server.output)
    call = calls_of_several_modes(house, alice, bob)[0]
    name_addr = '"Maria Musterfrau" <sip:+4930987654321@example.org>;tag='
    with BarePhone(("127.0.0.1", house.server.port)) as phone:
        stranger = {"From": f"{name_addr}{phone._tag}"}
        phone.invite("100", more=stranger)
        assert phone.answered().status == 200
        phone.request("BYE", more=stranger)
        house.server.log.wait("call.received", sip_call_id=phone.call_id, caller="+4930987654321")
    house.wait_idle()

    def ended() -> bool:
        return house.server.output[since:].count(f"call {call}: completed") == 2

    until(ended, "the end in worker and ledger")
    said = house.server.output[since:]
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert {line["process"] for line in lines if line.get("call") == call} == {"ledger", "w0"}
    personal = {str(text) for event in house.events() for text in event.personal.values()}
    assert {"+4930987654321", bob.uri, "alice"} <= personal
    ids = {text for text in personal if len(text) > 20}
    assert len(ids) >= 6  # Call-IDs among them
    everything = personal - {"100", "200", "400", "root"} | {"Maria", "+4930987654321@example.org"}
    assert not [text for text in everything if text in house.server.output]
