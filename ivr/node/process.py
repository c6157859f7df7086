# SPDX-License-Identifier: GPL-3.0-or-later
"""Running one process of the node: signals, readiness, watchdog, and dying with the supervisor."""

import asyncio
import ctypes
import logging
import os
import resource
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress

import uvloop

from ivr.node.notify import notify, watchdog_s

log = logging.getLogger(__name__)

SUPERVISED = "ASSENT_SUPERVISED"
AFTER = "ASSENT_AFTER"
"""The process that this one replaces: it prepares, says STATUS=prepared, and starts when that one has ended."""
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

Main = Callable[[asyncio.Event, Callable[[], None]], Awaitable[None]]


def run_process(main: Main, on_hangup: Callable[[], None] | None = None) -> None:
    """Runs `main(stop, on_ready)` on uvloop; SIGTERM, SIGINT and SIGHUP set `stop`. What `main` raises is raised.

    With `on_hangup` SIGHUP calls that instead, unless the process was started from a terminal: there it is its end. One
    that is ignored from the start, as nohup has it, stays so: it would come with the terminal's end, and ask nothing.
    """
    # A core file is memory, and there are samples in it that nobody sealed.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if os.environ.get(SUPERVISED):
        # A supervisor that is killed must not leave workers behind that nobody watches.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(main, on_hangup))


def adopt_orphans() -> None:
    """Descendants whose parent dies become children of this process, which can then see how they end (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def look_up_no_names() -> None:
    """No DNS query leaves this process from here on; addresses and /etc/hosts still work. Before the first look-up.

    PJSIP looks up the host in a caller's c= line, Contact and Record-Route, on the thread that serves all calls: any
    caller could make the server ask any name server, and a slow one would stop every call.
    """
    os.environ["RES_OPTIONS"] = "attempts:0"  # glibc, resolv.conf(5): a name is then given up before it is asked for


async def _main(main: Main, on_hangup: Callable[[], None] | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        terminal = os.isatty(0)
        loop.add_signal_handler(signal.SIGHUP, stop.set if on_hangup is None or terminal else on_hangup)
    elif on_hangup is not None and not os.environ.get(SUPERVISED):
        log.warning("SIGHUP does nothing here: it was ignored when this was started, as by nohup; setsid leaves it")
    watchdog = asyncio.ensure_future(_watchdog())
    try:
        await main(stop, _ready)
    finally:
        notify("STOPPING=1")
        watchdog.cancel()
        with suppress(asyncio.CancelledError):
            await watchdog


def _ready() -> None:
    notify("READY=1")


async def _watchdog() -> None:
    """Says from the event loop that it still turns; a loop that hangs is killed, never resumed."""
    interval = watchdog_s()
    while interval is not None:
        notify("WATCHDOG=1")
        await asyncio.sleep(interval)
