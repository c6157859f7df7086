# SPDX-License-Identifier: GPL-3.0-or-later
"""The control socket of a pool: one JSON object a line, request and answer. The manager's side and the client's.

Requests: {"op": "status"}, {"op": "drain", "what": "node" or "w3"}, {"op": "undrain", "what": …}, {"op": "restart"},
{"op": "end", "call": …, "reason": …}. Answers: {"ok": true, …} or {"ok": false, "error": …}. Who may open the socket
may do all of it: file modes keep others out.
"""

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from ivr.node.pool.manager import Manager

log = logging.getLogger(__name__)

LINE = 65_536
"""Bytes of the longest request."""

ANSWER = 16_000_000

_PEER = struct.Struct("3i")


class ControlError(Exception):
    """No manager answers, or it refused; the message says which, and what to do."""


class ControlServer:
    """Answers for one manager, on its loop."""

    def __init__(self, manager: Manager, path: Path) -> None:
        self._manager = manager
        self._path = path
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listens. A socket that a dead manager left is replaced. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(self._path), limit=LINE)
        os.chmod(self._path, 0o600)

    async def stop(self) -> None:
        """Closes."""
        if self._server is not None:
            self._server.close()
            with suppress(OSError):
                self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            by = _peer(writer)
            while line := await reader.readline():
                writer.write(orjson.dumps(self._answer(line, by)) + b"\n")
                await writer.drain()
        except (OSError, ValueError) as error:
            log.debug("a control connection ended: %s", error)
        finally:
            writer.close()

    def _answer(self, line: bytes, by: str) -> Mapping[str, Any]:
        try:
            request = orjson.loads(line)
            return {"ok": True, **self._do(request, by)}
        except (orjson.JSONDecodeError, AttributeError, LookupError) as error:
            said = error.args[0] if error.args else "what?"
            return {"ok": False, "error": str(said)}

    def _do(self, request: Mapping[str, Any], by: str) -> Mapping[str, Any]:
        manager, what = self._manager, str(request.get("what", "node"))
        match request.get("op"):
            case "status":
                return {"status": manager.status()}
            case "drain":
                return {"workers": manager.orders.drain(what, by)}
            case "undrain":
                return {"workers": manager.orders.undrain(what, by)}
            case "restart":
                log.info("%s asks for a rolling restart", by)
                manager.roll.begin()
                return {"workers": sorted(worker.name for worker in manager.workers.values())}
            case "end":
                call = str(request.get("call"))
                if not manager.orders.end_call(call, str(request.get("reason", "operator"))):
                    raise LookupError(f"no worker has call {call}")
                log.warning("%s ends call %s", by, call)
                return {}
        raise LookupError(f"unknown op {request.get('op')!r}: status, drain, undrain, restart or end")


def _peer(writer: asyncio.StreamWriter) -> str:
    """Who asks, by the kernel's word (unix(7), SO_PEERCRED). Its number: a look-up of names could hold up the loop."""
    sock = writer.get_extra_info("socket")
    pid, uid, _ = _PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return f"uid {uid} (pid {pid})"


def ask(path: Path, request: Mapping[str, Any], timeout: float = 10.0) -> dict[str, Any]:
    """One request to the pool of a server; its answer. Raises ControlError."""
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(timeout)
            sock.connect(str(path))
            sock.sendall(orjson.dumps(dict(request)) + b"\n")
            with sock.makefile("rb") as answers:
                line = answers.readline(ANSWER)
    except OSError as error:
        raise ControlError(f"no pool manager answers at {path}: {error}; is the server running?") from None
    try:
        answer: dict[str, Any] = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise ControlError(f"the pool manager at {path} ended before it answered") from None
    if not answer.get("ok"):
        raise ControlError(str(answer.get("error")))
    return answer
