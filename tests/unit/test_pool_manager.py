# SPDX-License-Identifier: GPL-3.0-or-later
"""What the manager does with workers, as their beats come in any order, and with a nursery that fails."""

import asyncio
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from ivr.node.pool import manager as managing
from ivr.node.pool import rolling
from ivr.node.pool.channel import receive, send
from ivr.node.pool.edges import NoEdge
from ivr.node.pool.manager import GRACE_S, START_S, STOP_S, Manager
from ivr.node.pool.nurseries import OnExited, OnForked
from ivr.node.pool.pooled import Pooled, State
from ivr.node.settings import Settings


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


class Far:
    """The worker's side: its end of the channel, and a process that stands for it."""

    def __init__(self, channel: socket.socket) -> None:
        self.sock = channel
        self.process: subprocess.Popen[bytes] | None = None

    def beat(self, *calls: str, state: str = "ready", served: int = 1) -> None:
        message = {"op": "beat", "state": state, "calls": list(calls), "served": served, "stalled": 0.0}
        assert send(self.sock, message)

    def ready(self) -> None:
        assert send(self.sock, {"op": "ready", "pid": 1})

    def told(self) -> list[str]:
        ops = []
        while True:
            try:
                got = receive(self.sock, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return ops
            if got is None:
                return [*ops, "end"]
            ops.append(str(got[0]["op"]))

    def end(self) -> None:
        self.sock.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()


class StandIn:
    """A nursery without a process of its own: it forks when the test says so."""

    made: ClassVar[list["StandIn"]] = []

    def __init__(self, _folder: Path, on_forked: OnForked, _on_exited: OnExited, on_gone: Callable[[], None]) -> None:
        self.on_forked, self.on_gone = on_forked, on_gone
        self.asked: dict[int, Far] = {}
        self.works = self.open = True
        self.pid = 1 + len(self.made)
        self.made.append(self)

    async def start(self) -> None:
        await asyncio.sleep(0)

    def fork(self, slot: int, channel: socket.socket) -> bool:
        with channel:
            if self.works:
                if slot in self.asked:
                    self.asked[slot].end()
                self.asked[slot] = Far(socket.socket(fileno=os.dup(channel.fileno())))
        return self.works

    def born(self, slot: int) -> Far:
        far = self.asked[slot]
        far.process = subprocess.Popen(["sleep", "300"])
        self.on_forked(slot, far.process.pid, os.pidfd_open(far.process.pid))
        return far

    def reap(self) -> None:
        return None

    def close(self) -> None:
        self.open = False

    kill = close


@pytest.fixture(autouse=True)
def standins(monkeypatch: pytest.MonkeyPatch) -> list[StandIn]:
    monkeypatch.setattr(StandIn, "made", [])
    monkeypatch.setattr(managing, "Nursery", StandIn)
    return StandIn.made


class NotingEdge(NoEdge):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    async def enable(self, worker: str) -> None:
        self.heard.append(("enable", worker))

    async def drain(self, worker: str) -> None:
        self.heard.append(("drain", worker))


@asynccontextmanager
async def managed(folder: Path, pool: str, edge: NoEdge | None = None) -> AsyncIterator[Manager]:
    (folder / "server.yaml").write_text(f"pool: {pool}\n")
    manager = Manager(Settings.load(folder), edge or NoEdge(), lambda: None)
    await manager.start()
    try:
        yield manager
    finally:
        for standin in StandIn.made:
            for slot, far in standin.asked.items():
                if far.process is None:
                    standin.born(slot)
                far.end()
        async with asyncio.timeout(20):
            await manager.stop("signal")


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await main()

    asyncio.run(bounded())


async def ready(manager: Manager, number: int = 0) -> tuple[Pooled, Far]:
    await until(lambda: number in StandIn.made[-1].asked)
    far = StandIn.made[-1].born(number)
    far.ready()
    worker = manager.workers[number]
    await until(lambda: worker.state is State.READY)
    return worker, far


# -- taken out of service ----------------------------------------------------------------------------------------------


def test_a_worker_that_leaves_is_told_to_end_only_when_it_has_said_that_it_takes_no_calls(tmp_path: Path) -> None:
    """The edge had forwarded a call before it was told; the worker took it before it was told itself."""

    async def main() -> None:
        async with managed(tmp_path, "{max: 2, min_spare: 0}") as manager:
            worker, far = await ready(manager)
            manager.leave(worker, "recycle")
            await until(lambda: "drain" in far.told())
            far.beat()  # from before it read that
            await until(lambda: worker.served == 1)
            manager.watch(worker, asyncio.get_running_loop().time())
            assert worker.state is State.DRAINING
            far.beat("c1", served=2)
            far.beat("c1", state="draining", served=2)
            await until(lambda: worker.closed)
            assert worker.state is State.DRAINING
            assert "stop" not in far.told()
            far.beat(state="draining", served=2)
            await until(lambda: "stop" in far.told())
            assert worker.state is State.STOPPING

    run(main)


def test_who_is_idle_and_says_so_is_told_to_end_at_once(tmp_path: Path) -> None:
    """Its calls are the same as before: only that it takes none any more is new."""

    async def main() -> None:
        async with managed(tmp_path, "{max: 2, min_spare: 0}") as manager:
            worker, far = await ready(manager)
            far.beat()
            await until(lambda: worker.served == 1)
            manager.leave(worker, "recycle")
            await until(lambda: "drain" in far.told())
            far.beat(state="draining")
            worker.take_in()
            assert "stop" in far.told()

    run(main)


def test_who_ends_with_a_call_has_as_long_as_a_drain_and_some_more_after_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with managed(tmp_path, "{max: 2, min_spare: 0}") as manager:
            worker, far = await ready(manager)
            worker.stop("recycle", within=STOP_S)
            now = asyncio.get_running_loop().time()

            def looked_at(when: float, *calls: str) -> None:
                far.beat(*calls, state="draining")
                worker.take_in()
                worker.alive_at = when
                manager.watch(worker, when)

            longest = Settings.load(tmp_path).limits.drain_timeout.seconds + GRACE_S
            looked_at(now + longest - 1, "c1")
            assert worker.blamed is None
            looked_at(now + longest - 0.5)
            assert worker.blamed is None
            looked_at(now + longest + 1)
            assert worker.blamed is not None
            await until(lambda: manager.workers.get(0) is not worker)

    run(main)


@pytest.mark.parametrize("told", ["drain", "stop"])
def test_who_hangs_with_a_call_is_killed_after_a_heartbeat_whatever_it_was_told(tmp_path: Path, told: str) -> None:
    async def main() -> None:
        async with managed(tmp_path, "{max: 2, min_spare: 0}") as manager:
            worker, far = await ready(manager)
            far.beat("c1")
            await until(lambda: worker.calls)
            if told == "stop":
                worker.stop("signal", within=STOP_S)
            else:
                worker.drain("drain")
            patience = Settings.load(tmp_path).pool.heartbeat.seconds
            manager.watch(worker, worker.alive_at + patience - 0.1)
            assert worker.blamed is None
            manager.watch(worker, worker.alive_at + patience + 0.1)
            assert worker.blamed is not None
            assert "hung" in worker.blamed
            far.sock.close()  # the kernel's part: its channel ends with it
            await until(lambda: manager.workers.get(0) is not worker)
            assert (manager.counts["hung"], manager.counts["died"]) == (1, 1)

    run(main)


def test_who_ends_without_a_call_may_be_silent_while_it_does(tmp_path: Path) -> None:
    """Closing PJSIP takes seconds and holds up its event loop."""

    async def main() -> None:
        async with managed(tmp_path, "{max: 2, min_spare: 0}") as manager:
            worker, far = await ready(manager)
            far.beat("c1")
            await until(lambda: worker.calls)
            worker.stop("signal", within=STOP_S)
            far.beat(state="draining")  # not read by the manager before it finds that the worker is silent
            manager.watch(worker, worker.stop_by - 0.1)
            assert worker.blamed is None
            manager.watch(worker, worker.stop_by + 0.1)
            assert worker.blamed is not None
            await until(lambda: manager.workers.get(0) is not worker)
            assert (manager.counts["hung"], manager.counts["died"]) == (0, 0)

    run(main)


# -- drained before it is ready ----------------------------------------------------------------------------------------


def test_a_worker_drained_while_it_starts_is_waited_for_and_then_drains(tmp_path: Path) -> None:
    async def main() -> None:
        edge = NotingEdge()
        async with managed(tmp_path, "2", edge) as manager:
            await until(lambda: 0 in StandIn.made[0].asked)
            worker = manager.workers[0]
            manager.orders.drain("w0", "uid 0")
            assert (worker.state, worker.serves) == (State.STARTING, False)
            manager.watch(worker, asyncio.get_running_loop().time() + 5)
            assert worker.blamed is None
            far = StandIn.made[0].born(0)
            far.ready()
            await until(lambda: worker.state is State.DRAINING)
            assert "drain" in far.told()
            assert ("enable", "w0") not in edge.heard
            manager.orders.undrain("w0", "uid 0")
            assert worker.state is State.READY
            await until(lambda: ("enable", "w0") in edge.heard)

    run(main)


def test_a_worker_undrained_while_it_starts_is_the_edges_only_when_it_is_ready(tmp_path: Path) -> None:
    async def main() -> None:
        edge = NotingEdge()
        async with managed(tmp_path, "2", edge) as manager:
            await until(lambda: 0 in StandIn.made[0].asked)
            worker = manager.workers[0]
            manager.orders.drain("node", "uid 0")
            manager.orders.undrain("node", "uid 0")
            await manager.edge.settled("w0")
            assert worker.state is State.STARTING
            assert ("enable", "w0") not in edge.heard
            far = StandIn.made[0].born(0)
            far.ready()
            await until(lambda: worker.state is State.READY)
            await until(lambda: ("enable", "w0") in edge.heard)
            assert worker.ready_at is not None
            assert far.told() == ["drain", "undrain"]

    run(main)


def test_a_drain_is_in_the_log_with_who_and_again_when_its_last_call_has_ended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "ivr.node.pool.orders")

    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "ivr.node.pool.orders"]

    async def main() -> None:
        async with managed(tmp_path, "2") as manager:
            worker, far = await ready(manager)
            far.beat("a", "b")
            await until(lambda: len(worker.calls) == 2)
            manager.orders.drain("w0", "uid 7 (pid 8)")
            said = ["drained by uid 7 (pid 8): w0 takes no new calls; calls that are up and go on: 2"]
            assert lines() == said
            far.beat("b", state="draining")
            await until(lambda: len(worker.calls) == 1)
            far.beat()  # of before it heard: one may come yet
            await until(lambda: not worker.calls)
            assert lines() == said
            far.beat(state="draining")
            await until(lambda: len(lines()) == 2)
            said.append("w0 is drained: no call is left")
            await until(lambda: 1 in manager.workers)  # in its place
            manager.orders.drain("node", "uid 0")
            said += [
                "drained by uid 0: the node takes no new calls, they get 503; calls that are up and go on: 0",
                "the node is drained: no call is left",
            ]
            await until(lambda: 1 in StandIn.made[0].asked)
            other = StandIn.made[0].born(1)
            other.ready()
            await until(lambda: manager.workers[1].state is State.DRAINING)
            assert lines() == said[:-1]
            other.beat(state="draining")
            await until(lambda: lines() == said)
            manager.orders.undrain("w0", "uid 0")
            manager.orders.undrain("node", "uid 0")
            assert lines()[4:] == [
                "undrained by uid 0: w0 takes new calls again once the node is undrained",
                "undrained by uid 0: the node takes new calls again",
            ]

    run(main)


def test_a_drained_worker_that_dies_has_no_call_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with managed(tmp_path, "2") as manager:
            _, far = await ready(manager)
            manager.orders.drain("w0", "uid 0")
            far.end()
            await until(lambda: "w0 is drained: no call is left" in caplog.messages)

    run(main)


def test_a_worker_that_leaves_while_it_starts_ends_once_it_is_up(tmp_path: Path) -> None:
    async def main() -> None:
        async with managed(tmp_path, "2") as manager:
            await until(lambda: 0 in StandIn.made[0].asked)
            worker = manager.workers[0]
            manager.leave(worker, "upgrade")
            await until(lambda: worker.drained)
            far = StandIn.made[0].born(0)
            far.ready()
            far.beat(served=0)
            far.beat(served=0, state="draining")
            await until(lambda: worker.state is State.STOPPING)
            assert far.told() == ["drain", "stop"]

    run(main)


# -- the nursery -------------------------------------------------------------------------------------------------------


def later(manager: Manager, worker: Pooled, seconds: float) -> None:
    manager.watch(worker, asyncio.get_running_loop().time() + seconds)


def test_a_nursery_that_hangs_is_replaced_and_the_pool_grows_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with managed(tmp_path, "{max: 2, min_spare: 2}") as manager:
            await until(lambda: len(manager.workers) == 2)
            first = StandIn.made[0]
            stuck = dict(manager.workers)
            later(manager, stuck[0], START_S - 1)
            assert (manager.nursery, first.open) == (first, True)
            later(manager, stuck[0], START_S + 1)
            assert not first.open
            assert StandIn.made[0].asked[0].told() == ["end"]
            await until(lambda: len(StandIn.made) == 2 and len(StandIn.made[1].asked) == 2)
            worker, _ = await ready(manager)
            assert worker is not stuck[0]

    run(main)


def test_a_worker_nobody_has_a_handle_of_is_let_go_when_it_is_to_be_killed(tmp_path: Path) -> None:
    async def main() -> None:
        async with managed(tmp_path, "2") as manager:
            await until(lambda: 0 in StandIn.made[0].asked)
            worker, far = manager.workers[0], StandIn.made[0].asked[0]
            far.ready()  # the word of the nursery never comes
            await until(lambda: worker.state is State.READY)
            later(manager, worker, 10)
            assert manager.workers.get(0) is not worker
            assert far.told() == ["end"]
            await until(lambda: 0 in manager.workers)  # and another one is asked for
            assert manager.workers[0].asked is StandIn.made[0]

    run(main)


def test_a_process_that_nobody_waits_for_is_killed_and_its_handle_closed(tmp_path: Path) -> None:
    async def main() -> None:
        async with managed(tmp_path, "2"):
            process = subprocess.Popen(["sleep", "300"])
            handle = os.pidfd_open(process.pid)
            StandIn.made[0].on_forked(1, process.pid, handle)
            assert await asyncio.to_thread(process.wait, 20) == -9
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(handle)

    run(main)


def test_a_rolling_restart_lets_the_old_nursery_finish_what_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def rendered(*_: str) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(rolling, "run_ivr", rendered)

    async def main() -> None:
        async with managed(tmp_path, "2") as manager:
            await until(lambda: 0 in StandIn.made[0].asked)
            old, worker = StandIn.made[0], manager.workers[0]
            manager.roll.begin()
            await until(lambda: manager.generation == 2)
            await asyncio.sleep(3 * rolling.LOOK_S)
            assert old.open
            far = old.born(0)
            assert worker.pid
            far.ready()
            await until(lambda: not old.open)
            await until(lambda: worker.leaving == "upgrade" or 1 in StandIn.made[1].asked)

    run(main)


def test_a_nursery_that_takes_no_request_is_replaced(tmp_path: Path) -> None:
    """It died before anybody listened for its end."""

    async def main() -> None:
        async with managed(tmp_path, "2") as manager:
            worker, far = await ready(manager)
            StandIn.made[0].works = False
            far.beat("c1", "c2")  # another worker is needed
            await until(lambda: len(StandIn.made) == 2 and 1 in StandIn.made[1].asked)
            assert not StandIn.made[0].open
            assert worker.state is State.READY

    run(main)


def test_a_nursery_that_dies_with_its_first_words_leaves_a_pool_that_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dying(StandIn):
        async def start(self) -> None:
            if len(StandIn.made) == 1:
                self.works = False
                self.on_gone()

    async def main() -> None:
        monkeypatch.setattr(managing, "Nursery", Dying)
        async with managed(tmp_path, "2") as manager:
            await until(lambda: len(StandIn.made) == 2 and 0 in StandIn.made[1].asked)
            await ready(manager)

    run(main)


def test_a_rolling_restart_names_what_it_does_not_change_and_refuses_to_move_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def rendered(*_words: object) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(rolling, "run_ivr", rendered)

    async def main() -> None:
        async with managed(tmp_path, "2") as manager:
            await ready(manager)
            (tmp_path / "server.yaml").write_text("pool: {max: 2, sip_port: 15010}\n")
            manager.roll.begin()
            await until(lambda: not manager.roll.active)
            assert (manager.generation, len(StandIn.made)) == (1, 1)
            assert manager.roll.error is not None
            assert manager.roll.error.startswith("pool.sip_port: ")
            (tmp_path / "server.yaml").write_text("pool: {max: 4, idle_time: 2min}\n")
            manager.roll.begin()
            await until(lambda: manager.generation == 2)
            said = next(line for line in caplog.messages if "started with" in line)
            assert "pool.max (2 runs, server.yaml says 4), pool.idle_time (1 min runs, server.yaml says 2 min)" in said

    run(main)


def test_undraining_brings_nobody_back_to_the_edge_who_is_on_the_way_out(tmp_path: Path) -> None:
    async def main() -> None:
        edge = NotingEdge()
        async with managed(tmp_path, "2", edge) as manager:
            worker, _ = await ready(manager)
            await manager.edge.settled("w0")
            manager.leave(worker, "upgrade")  # the edge is told first, then the worker
            manager.orders.undrain("node", "uid 0")
            await until(lambda: worker.state is State.DRAINING)
            await manager.edge.settled("w0")
            assert [what for what, name in edge.heard if name == "w0"][-1] == "drain"

    run(main)
