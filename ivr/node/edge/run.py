# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr edge run`: writes the configuration, becomes an unprivileged user, and turns into Kamailio."""

import asyncio
import ctypes
import os
import pwd
import resource
import select
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from ivr.node.edge.control import EdgeControl
from ivr.node.edge.files import Own, keep, write_all
from ivr.node.edge.model import RPC, EdgePlan
from ivr.node.edge.render import CFG, HERE
from ivr.node.edge.rpc import EdgeRefused, EdgeUnavailable, Rpc
from ivr.node.notify import notify
from ivr.node.process import AFTER, SUPERVISED
from ivr.node.settings import LogLevel

USERS = ("ivr-edge", "kamailio", "nobody")
AS_JSON = "--log-engine=json"
READY_S = 25.0
PRIVATE_MB = 8
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


class EdgeError(Exception):
    """The edge cannot be started; the message says why and what to do."""


def kamailio() -> Path:
    """The program. Raises EdgeError when it is not installed."""
    found = shutil.which("kamailio") or shutil.which("kamailio", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise EdgeError("kamailio is not installed: apt-get install kamailio kamailio-tls-modules")
    return Path(found)


def user_for(name: str | None) -> pwd.struct_passwd | None:
    """Whom to become; None when we are not root and stay who we are. Raises EdgeError for a name that nobody has."""
    if os.geteuid() != 0:
        return None
    for candidate in [name] if name else USERS:
        try:
            found = pwd.getpwnam(candidate)
        except KeyError:
            continue
        if found.pw_uid == 0:
            raise EdgeError(f"edge.user: {candidate} is root, which the edge must not be: name another user")
        return found
    raise EdgeError(f"edge.user: no user {name or ' or '.join(USERS)} on this machine: make one, or name another")


def command(plan: EdgePlan, program: Path) -> list[str]:
    """Kamailio in the foreground, its log on stderr. Paths are relative: see `run_edge`."""
    line = [str(program), "-DD", "-E", "-f", f"{HERE}/{CFG}", "-Y", ".", "-w", "."]
    # As JSON whatever log.format is: what a stranger wrote cannot look like a line of its own to our scribe.
    return [*line, "-m", str(plan.memory), "-M", str(PRIVATE_MB), AS_JSON]


def run_edge(plan: EdgePlan) -> None:
    """Does not return: this process becomes Kamailio. Raises EdgeError, TlsFileError, OSError."""
    program = kamailio()
    user = user_for(plan.user)
    write_all(plan, owner_of(plan))
    # Kamailio names all its files from here, so it needs no way through the folders above, which may be closed to it.
    os.chdir(plan.folder)
    _after_the_one_before()
    _forget_old_socket()
    log = _scribe(plan, user)
    if user is not None:
        os.initgroups(user.pw_name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o027)
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.environ.get(SUPERVISED):
        # After the change of user, which would undo it. A server that is killed leaves no edge behind.
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    _tell_when_ready()
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.execv(program, command(plan, program))


def owner_of(plan: EdgePlan) -> Own:
    """What gives a file to the edge's user. Raises EdgeError."""
    user = user_for(plan.user)
    if user is None:
        return keep

    def own(handle: int) -> None:
        os.fchown(handle, user.pw_uid, user.pw_gid)

    return own


def _after_the_one_before() -> None:
    """Where this edge replaces one that still runs: all is prepared by now, and it starts when the other has ended."""
    pid = os.environ.pop(AFTER, "")
    if not pid:
        return
    with suppress(EdgeUnavailable, EdgeRefused):
        asyncio.run(_hold())  # so that none of its calls is between a first answer and a worker when it ends
    notify("STATUS=prepared")
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(int(pid))
        select.select([handle], [], [])
        os.close(handle)


async def _hold() -> None:
    control = EdgeControl(Path(RPC), {})
    try:
        await control.hold()
    finally:
        control.close()


def _scribe(plan: EdgePlan, user: pwd.struct_passwd | None) -> int:
    """A process that writes Kamailio's lines in our form (`scribe`); the end of the pipe that they go into.

    It is nobody's child: Kamailio shuts down when a process ends that it takes for one of its own. Started before the
    change of user, who may not get at Python; it becomes that user itself. -P, because this folder is that user's: what
    it wrote there is not to be imported.
    """
    source, sink = os.pipe()
    what = "whole" if plan.level is LogLevel.DEBUG else "known"
    who = ["-1", "-1"] if user is None else [str(user.pw_uid), str(user.pw_gid)]
    line = [sys.executable, "-P", "-m", "ivr.node.edge.scribe", plan.format, what, plan.personal, *who]
    child = os.fork()
    if child == 0:
        try:
            if os.fork() == 0:
                quiet = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                    signal.signal(number, signal.SIG_IGN)  # here, and so from its first moment
                os.dup2(source, 0)
                os.dup2(2, 1)
                os.closerange(3, 256)
                os.execve(line[0], line, quiet)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(source)
    return sink


def _forget_old_socket() -> None:
    """The socket of a run before, which could no longer answer."""
    Path(RPC).unlink(missing_ok=True)


def _tell_when_ready() -> None:
    """A process of its own says READY=1 when the edge answers, and ends.

    It is nobody's child: Kamailio shuts down when a process ends that it takes for one of its own.
    """
    if not os.environ.get("NOTIFY_SOCKET"):
        return
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    if os.fork():
        os._exit(0)
    try:
        asyncio.run(_wait_ready())
    finally:
        os._exit(0)


async def _wait_ready() -> None:
    rpc = Rpc(Path(RPC))
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        try:
            await rpc.call("htable.get", "stat", "run")
            notify("READY=1")
            return
        except (EdgeUnavailable, EdgeRefused):
            await asyncio.sleep(0.02)
