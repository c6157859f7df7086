# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting in order, replacing what dies, stopping in reverse, giving up on what cannot start."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ivr.node import supervisor
from ivr.node.supervisor import Child, ChildFailed, supervise

TELL = "import os, socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect(os.environ['NOTIFY_SOCKET'])"
READY = f"{TELL}; s.send(b'STATUS=on the way'); s.send(b'READY=1')"
ENDS = {
    "obeys": f"{READY}; import signal; signal.sigwait([signal.SIGTERM])",
    "obstinate": f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {READY}\nwhile True: signal.pause()",
    "dies at once": "raise SystemExit(7)",
    "says nothing": "import time; time.sleep(600)",
}


class Program(Child):
    """A child that runs a line of Python instead of `ivr NAME`; it writes its start and end into a file."""

    def __init__(self, name: str, kind: str, book: Path) -> None:
        super().__init__(name, [])
        self._program = "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n" * (
            kind == "obeys"
        ) + (
            f"def note(what): open({str(book)!r}, 'a').write('{name} ' + what + '\\n')\n"
            f"note('starts')\n{ENDS[kind]}\nnote('ends')\n"
        )


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes `sys.executable -m ivr NAME` run the program of that name."""
    folder = tmp_path / "bin"
    folder.mkdir()
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "{folder}/$3"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    return tmp_path / "book"


def program(name: str, kind: str, book: Path) -> Child:
    child = Program(name, kind, book)
    (book.parent / "bin" / name).write_text(child._program)
    return child


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def lines(book: Path) -> list[str]:
    return book.read_text().splitlines() if book.exists() else []


def test_they_start_in_order_and_stop_in_reverse(book: Path) -> None:
    async def run() -> None:
        stop = asyncio.Event()
        children = [program("one", "obeys", book), program("two", "obeys", book)]

        async def up() -> None:
            assert lines(book) == ["one starts", "two starts"]
            stop.set()

        await supervise(children, stop, 20, up)
        assert [child.process.returncode for child in children if child.process] == [0, 0]

    asyncio.run(run())
    assert lines(book) == ["one starts", "two starts", "two ends", "one ends"]


def test_one_that_dies_is_started_again_and_the_other_is_left_alone(book: Path) -> None:
    async def run() -> None:
        stop, up = asyncio.Event(), asyncio.Event()
        children = [program("one", "obeys", book), program("two", "obeys", book)]

        async def on_up() -> None:
            up.set()

        running = asyncio.ensure_future(supervise(children, stop, 20, on_up))
        await up.wait()
        first = children[0].process
        second = children[1].process
        assert first is not None
        assert second is not None
        os.kill(second.pid, signal.SIGKILL)
        await until(lambda: lines(book).count("two starts") == 2)
        assert children[0].process is first
        assert first.returncode is None
        stop.set()
        await running

    asyncio.run(run())
    assert lines(book).count("one starts") == 1


def test_one_that_ignores_sigterm_is_killed(book: Path) -> None:
    async def run() -> int | None:
        stop = asyncio.Event()
        stop.set()
        child = program("one", "obstinate", book)

        async def up() -> None:
            return

        await supervise([child], stop, 0.2, up)
        return child.process.returncode if child.process else None

    assert asyncio.run(run()) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("kind", "why"), [("dies at once", "the two ended with status 7"), ("says nothing", "was not ready after")]
)
def test_what_cannot_be_started_is_an_error_and_stops_the_rest(
    kind: str, why: str, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "READY_S", 1.0 if kind == "says nothing" else 20.0)

    async def run() -> None:
        async def up() -> None:
            raise AssertionError("nothing is up")

        children = [program("one", "obeys", book), program("two", kind, book)]
        if kind == "says nothing":
            supervisor.READY_S = 20.0
            real = children[1].start

            async def impatient() -> None:
                supervisor.READY_S = 0.5
                await real()

            children[1].start = impatient  # type: ignore[method-assign]
        with pytest.raises(ChildFailed, match=why):
            await supervise(children, asyncio.Event(), 20, up)
        for child in children:
            assert child.process is not None
            await asyncio.wait_for(child.process.wait(), 20)

    asyncio.run(run())
    assert lines(book)[0] == "one starts"
    assert "one ends" in lines(book)


def test_a_restart_that_fails_is_tried_again(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second start ends at once; the third stands."""
    monkeypatch.setattr(supervisor, "BACKOFF_S", (0.0, 0.01))

    async def run() -> None:
        stop, up = asyncio.Event(), asyncio.Event()
        child = program("one", "obeys", book)
        good = (book.parent / "bin" / "one").read_text()

        async def on_up() -> None:
            up.set()

        running = asyncio.ensure_future(supervise([child], stop, 20, on_up))
        await up.wait()
        first = child.process
        assert first is not None
        (book.parent / "bin" / "one").write_text(f"open({str(book)!r}, 'a').write('broken\\n')\nraise SystemExit(3)\n")
        os.kill(first.pid, signal.SIGKILL)
        await until(lambda: "broken" in lines(book))
        (book.parent / "bin" / "one").write_text(good)
        await until(lambda: lines(book).count("one starts") == 2)
        stop.set()
        await running

    asyncio.run(run())
