# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole node is upgraded, part after part, while SIPp rings it all along: not one call fails, and the log holds."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from demo.server import Server, free_port
from sip.conftest import judged_by_ivr, open_server
from sip.poolhouse import names, pool_settings, status, until

RINGER = Path(__file__).with_name("ringer.xml")
LONG = "This is one sentence of many, and nobody will hear the last of them. " * 4


def flows(words: str) -> dict[str, object]:
    """A number that talks for longer than SIPp listens."""
    return {"talk": {"numbers": ["100"], "language": "en", "sections": {"main": [{"play": words}, "hangup"]}}}


@contextmanager
def ringing(server: Server, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """SIPp rings twice a second, two seconds a call, until it is told to finish."""
    command = ["sipp", "-sf", str(RINGER), "-s", "100", f"127.0.0.1:{server.port}", "-r", "2", "-d", "2000"]
    command += ["-i", "127.0.0.1"]
    command += ["-p", str(free_port(30_000, 31_000)), "-mp", str(free_port(31_002, 32_000, 16)), "-nostdin"]
    command += ["-trace_err", "-error_file", str(folder / "errors.txt"), "-timeout", "300"]
    with (folder / "sipp.out").open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.mark.timeout(300)  # seven processes are started one after the other, by design
def test_no_call_fails_while_everything_is_replaced(tmp_path: Path) -> None:
    settings = pool_settings(
        5, min_spare=3
    )  # six lines for four calls: none may be refused while another worker starts
    server = open_server(tmp_path / "server", flows(LONG), settings)
    with server:
        until(server, lambda s: len(names(s)) >= 3, "three workers ready")
        with ringing(server, tmp_path) as sipp:
            server.log.wait("call.ended", within=30, count=3)
            before, ledger, edge = status(server), server.part("ledger"), server.part("-DD")
            # What an upgrade leaves on disk: here other flows, which every new process reads.
            file = server.folder / "flows" / "flows.yaml"
            file.write_text(file.read_text().replace("many", "very many"))
            os.kill(server.pid, signal.SIGHUP)
            after = until(
                server,
                lambda s: s["generation"] == 2 and not s["rolling"]["active"] and names(s),
                "renewed",
                within=150,
            )
            done = server.log.next
            server.log.wait("call.ended", since=done, within=30, count=4)
            sipp.send_signal(signal.SIGUSR1)  # no new calls, and the end after the last one
            failed = sipp.wait(timeout=60)
            errors = tmp_path / "errors.txt"
            assert failed == 0, (errors.read_text() if errors.exists() else "") + server.output
        assert server.part("ledger") != ledger
        assert server.part("-DD") != edge
        old = {worker["pid"] for worker in before["workers"]}
        assert not old & {worker["pid"] for worker in after["workers"]}
        server.log.poll()
        assert not [event for event in server.log.events if event.type == "call.lost"]
        received = [event.data["flow_sha256"] for event in server.log.events if event.type == "call.received"]
        ended = [event for event in server.log.events if event.type == "call.ended"]
        assert len(received) == len(ended) >= 10
        assert len(set(received)) == 2
        assert (
            len({e.data["flow_sha256"] for e in server.log.events if e.type == "call.received" and e.seq >= done}) == 1
        )
    judged_by_ivr(server)
