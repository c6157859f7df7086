# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics of a node: what each part says, what is left out when it does not answer, and sums that never fall."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from demo.server import free_port
from ivr.audit.watch import Alarm
from ivr.cli import main
from ivr.histogram import Histogram
from ivr.ledger.log import Entry
from ivr.node.initialise import initialise
from ivr.node.observe.alarmwatch import AlarmWatch
from ivr.node.observe.door import MOST
from ivr.node.observe.endpoint import Observatory
from ivr.node.observe.metrics import text_of
from ivr.node.observe.observing import observe
from ivr.node.observe.problems import problems
from ivr.node.observe.readiness import missing
from ivr.node.observe.snapshot import Snapshot
from ivr.node.observe.totals import MediaTotals, total
from ivr.node.settings import Metrics, Settings
from ledger_kit import CALL, until
from observe_kit import call, edge, ledger, media, pool, snapshot, worker


def served(node: Snapshot) -> dict[tuple[str, tuple[str, ...]], float]:
    families = text_string_to_metric_families(text_of(node).decode())
    return {(s.name, tuple(s.labels.values())): s.value for family in families for s in family.samples}


# -- metrics ---------------------------------------------------------------------------------------------------------


def test_calls_are_told_by_state_and_by_recording() -> None:
    calls = (call(1), call(2, state="notice", recorded="no"), call(3, recorded="no", reason="refused"))
    found = served(snapshot(pool=pool(worker("w0", *calls[:2]), worker("w1", calls[2]))))
    assert found["assent_calls", ("bridged",)] == 2
    assert found["assent_calls", ("notice",)] == 1
    assert found["assent_calls", ("held",)] == 0
    assert found["assent_calls_recorded", ("yes",)] == 1
    assert found["assent_calls_recorded", ("no",)] == 2
    assert found["assent_worker_calls", ("w0",)] == 2
    assert found["assent_calls_capacity", ()] == 8
    assert found["assent_recording_lag_seconds", ()] == 0.7


def test_a_state_that_a_broken_worker_makes_up_is_no_label() -> None:
    found = served(snapshot(pool=pool(worker("w0", call(1, state="+4930123456", recorded="sip:bob@example.org")))))
    assert not [labels for _, labels in found if any("+49" in label or "bob" in label for label in labels)]


def test_blocked_is_apart_from_failed_and_from_refused() -> None:
    facts = (
        Entry("recording.blocked", CALL, {"reason": "ledger"}),
        Entry("recording.failed", CALL, {"number": 1, "reason": "VaultError"}),
        Entry("consent.decided", CALL, {"decision": "refused", "mode": "opt_out", "source": "dtmf"}),
    )
    found = served(snapshot(ledger=ledger(*facts)))
    assert found["assent_recordings_blocked_total", ("ledger",)] == 1
    assert found["assent_recordings_failed_total", ("VaultError",)] == 1
    assert found["assent_consent_decisions_total", ("refused", "opt_out", "dtmf")] == 1
    assert [key for key in found if key[0] == "assent_recordings_blocked_total"] == [
        ("assent_recordings_blocked_total", ("ledger",))
    ]


def test_histograms_are_cumulative() -> None:
    found = served(snapshot(ledger=ledger(*[Entry("bridge.ended", CALL, {})] * 3)))
    assert found["assent_ledger_commit_seconds_bucket", ("0.0025",)] == 0
    assert found["assent_ledger_commit_seconds_bucket", ("0.005",)] == 3
    assert found["assent_ledger_commit_seconds_bucket", ("+Inf",)] == 3
    assert found["assent_ledger_commit_seconds_sum", ()] == pytest.approx(0.012)


@pytest.mark.parametrize(
    ("away", "gone", "says"),
    [
        ({"ledger": None}, "assent_events_total", ("assent_ledger_up", 0.0)),
        ({"pool": None}, "assent_calls", ("assent_ledger_up", 1.0)),
        ({"edge": None, "wants_edge": True}, "assent_edge_events_total", ("assent_edge_up", 0.0)),
    ],
)
def test_what_nobody_knows_is_left_out_and_not_0(away: dict[str, Any], gone: str, says: tuple[str, float]) -> None:
    whole = snapshot(edge=edge(calls=1), wants_edge=True, ledger=ledger(Entry("bridge.ended", CALL, {})))
    assert [name for name, _ in served(whole) if name == gone]
    found = served(snapshot(**{"ledger": whole.ledger, "edge": whole.edge, "wants_edge": True} | away))
    assert not [name for name, _ in found if name == gone]
    assert found[says[0], ()] == says[1]


def test_a_node_without_an_edge_says_nothing_of_one() -> None:
    assert not [name for name, _ in served(snapshot()) if name.startswith("assent_edge")]


def test_edge_counters_are_told_by_trunk_and_unknown_ones_are_not() -> None:
    found = served(snapshot(wants_edge=True, edge=edge(**{"full": 2, "refused_calls:acme": 3, "made_up": 9})))
    assert found["assent_edge_events_total", ("full", "")] == 2
    assert found["assent_edge_events_total", ("refused_calls", "acme")] == 3
    assert ("assent_edge_events_total", ("made_up", "")) not in found


def test_a_leg_that_was_lost_in_part_is_seen() -> None:
    found = served(snapshot(media=media(received=90, lost=10)))
    assert found["assent_media_packets_lost_total", ("caller",)] == 10
    assert found["assent_media_loss_ratio_bucket", ("0.1", "caller")] == 0
    assert found["assent_media_loss_ratio_bucket", ("0.2", "caller")] == 1
    assert found["assent_media_jitter_seconds_bucket", ("0.005", "caller")] == 1


@pytest.mark.parametrize(
    "stats",
    [
        {"calls": 1, "lag_s": "x", "media": []},
        {"calls": [1, {}, {"call": "x"}], "lag_s": [None, "9", float("nan")]},
        {"calls": [call(1, reason="\x1b]0;owned"), call(1, since="now"), call(1, flow="x" * 101), call(1, parties=3)]},
    ],
)
def test_a_worker_that_says_nonsense_is_not_shown(stats: dict[str, Any]) -> None:
    node = snapshot(pool=pool(worker("w0", stats=stats), worker("w1", call(1))))
    assert [one["worker"] for one in node.calls] == ["w1"]
    assert node.lags == [0.7]
    assert served(node)["assent_calls", ("bridged",)] == 1


# -- sums of workers -------------------------------------------------------------------------------------------------


def packets(total: Mapping[str, Any]) -> int:
    return int(total["caller"]["packets"]["received"])


def test_a_worker_that_ends_takes_nothing_with_it() -> None:
    totals = MediaTotals()

    def now(workers: dict[int, Any]) -> int:
        totals.see(workers)
        return packets(total(totals.parts()))

    assert now({1: media(100), 2: media(50)}) == 150
    assert now({2: media(60)}) == 160
    totals.last(2, media(75))
    assert now({}) == 175
    assert now({}) == 175
    assert now({3: media(1)}) == 176


@pytest.mark.parametrize("said", [{"caller": 1}, {"caller": {}, "agent": {}}, {"caller": None, "agent": None}])
def test_a_worker_that_says_nonsense_is_left_out(said: dict[str, Any]) -> None:
    totals = MediaTotals()
    totals.see({1: media(100), 2: said})
    assert packets(total(totals.parts())) == 100
    totals.see({1: media(100)})
    assert packets(total(totals.parts())) == 100


def test_histograms_of_other_bounds_are_not_added() -> None:
    with pytest.raises(ValueError, match="bounds"):
        Histogram((1.0,)).add(Histogram((2.0,)))


# -- readiness -------------------------------------------------------------------------------------------------------


def test_a_node_that_is_well_lacks_nothing() -> None:
    assert missing(snapshot()) == []
    assert missing(snapshot(wants_edge=True, edge=edge())) == []


@pytest.mark.parametrize(
    ("changed", "what", "why"),
    [
        ({"ledger": None, "ledger_error": "it did not answer"}, "ledger", "it did not answer"),
        ({"ledger": ledger(writing=False)}, "ledger", "cannot write"),
        ({"ledger": ledger(queue=4, oldest_s=2.5)}, "ledger", "waited 2.5 s"),
        ({"pool": pool(state="draining")}, "node", "draining"),
        ({"pool": pool(state="stopping")}, "node", "stopping"),
        ({"pool": None, "pool_error": "nobody there"}, "node", "nobody there"),
        ({"pool": pool(worker("w0", state="starting"))}, "workers", "none is ready"),
        ({"wants_edge": True, "edge_error": "no edge"}, "edge", "no edge"),
    ],
)
def test_what_is_missing_is_named(changed: dict[str, Any], what: str, why: str) -> None:
    (found,) = missing(snapshot(**changed))
    assert found.what == what
    assert why in found.why


# -- problems --------------------------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    initialise(tmp_path / "server", "example.org/log")
    return Settings.load(tmp_path / "server")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, None),
        ({"ledger": ledger(queue=3, oldest_s=1.5)}, "3 events wait"),
        ({"ledger": ledger(unsealed_s=200.0)}, "checkpoint"),
        ({"free_bytes": 10**8}, "100 MB are free"),
        ({"certificate_until": 1000.0 + 86_400 * 3}, "3 days"),
        ({"pool": pool(worker("w0", call(), stats={"calls": [], "lag_s": [7.0]}))}, "7.0 s of audio"),
    ],
)
def test_what_an_operator_should_look_at(settings: Settings, changed: dict[str, Any], says: str | None) -> None:
    found = problems(snapshot(**changed), settings, {"file-missing": 0})
    assert (says is None and not found) or (says is not None and says in found[0])


def test_alarms_of_log_watch_are_problems(settings: Settings) -> None:
    assert problems(snapshot(), settings, {"file-missing": 2}) == ["ivr log watch: 2 × file-missing"]


# -- the endpoint ----------------------------------------------------------------------------------------------------


class _Manager:
    def __init__(self) -> None:
        self.on_gone: Any = None

    def status(self) -> dict[str, Any]:
        return pool()


def with_port(settings: Settings, port: int) -> Settings:
    return settings.model_copy(update={"metrics": Metrics(port=port)})


def test_port_0_is_no_endpoint(settings: Settings) -> None:
    manager = _Manager()
    asyncio.run(asyncio.wait_for(observe(with_port(settings, 0), manager), 5))
    assert manager.on_gone is None


def test_a_port_that_is_taken_costs_the_metrics_alone(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
        taken = server.sockets[0].getsockname()[1]
        observatory = Observatory(with_port(settings, taken), pool)
        observatory.start()
        await until(lambda: f"no metrics on 127.0.0.1:{taken}" in caplog.text, "the line")
        await observatory.stop()
        server.close()

    asyncio.run(run())
    assert caplog.text.count("no metrics") == 1


def test_an_endpoint_ends_when_it_is_told_to(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    manager, port = _Manager(), free_port(20_000, 22_000)

    async def run() -> None:
        task = asyncio.create_task(observe(with_port(settings, port), manager))
        await until(lambda: f"metrics on http://127.0.0.1:{port}/metrics" in caplog.text, "listening", 60)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 503")  # there is no ledger here
        assert b'"what": "ledger"' in answer
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)

    asyncio.run(run())


def test_an_endpoint_answers_while_others_hold_connections_open(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    port = free_port(20_000, 22_000)

    async def run() -> None:
        observatory = Observatory(with_port(settings, port), pool)
        observatory.start()
        await until(lambda: f"metrics on http://127.0.0.1:{port}/metrics" in caplog.text, "listening", 60)
        before = len(os.listdir("/proc/self/fd"))
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST * 3)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b'"healthy": true' in await asyncio.wait_for(reader.read(), 20)
        # Both ends are in this process: ours of all, theirs of no more than may be inside.
        assert len(os.listdir("/proc/self/fd")) - before <= len(silent) + 1 + MOST
        for _, line in [*silent, (reader, writer)]:
            line.transport.abort()
        await observatory.stop()

    asyncio.run(run())


def test_log_and_files_are_looked_at_by_a_process_of_its_own(settings: Settings) -> None:
    async def run() -> str:
        watch = AlarmWatch(settings.folder, 60.0, settings.storage.database, settings.folder / "none")
        watch.start()
        await until(lambda: bool(watch.text), "the first look", 60)
        await watch.stop()
        return watch.text

    text = asyncio.run(run())
    assert all(f'assent_alarms{{alarm="{alarm}"}} 0' in text for alarm in Alarm)
    assert served(snapshot(alarms=text))["assent_watch_time_seconds", ()] > 1_600_000_000


def test_a_look_that_fails_is_told_and_not_shown_as_well(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> str:
        watch = AlarmWatch(tmp_path, 60.0, "an address", tmp_path / "none")
        watch.start()
        await until(lambda: "were not looked at" in caplog.text, "the line", 60)
        await watch.stop()
        return watch.text

    assert asyncio.run(run()) == ""


def test_a_pool_that_may_not_read_the_log_serves_what_the_timer_found(settings: Settings) -> None:
    left = settings.folder / "run" / "watch.prom"
    done = CliRunner().invoke(main, ["log", "watch", "--once", "--gauges", str(left), "--config", str(settings.folder)])
    assert done.exit_code == 0, done.output
    assert left.stat().st_mode & 0o777 == 0o640

    async def run() -> str:
        watch = AlarmWatch(settings.folder, 60.0, settings.folder / "not-there", left)
        watch.start()
        text = watch.text
        await watch.stop()
        return text

    text = asyncio.run(run())
    assert served(snapshot(alarms=text))["assent_alarms", (str(Alarm.NO_PERMIT),)] == 0
