# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON-RPC to Kamailio over a Unix datagram socket (module jsonrpcs)."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

LARGEST = 1 << 18
AGAIN_S = 0.002


class EdgeUnavailable(OSError):
    """The edge does not answer: it is not running, or hangs."""


class EdgeRefused(Exception):
    """The edge answered with an error: `code` as in JSON-RPC, or as in SIP."""

    def __init__(self, method: str, code: int, said: str) -> None:
        super().__init__(f"the edge refuses {method}: {said} ({code})")
        self.code = code


class Rpc:
    """One client. Its own address is in the abstract name space, so it needs no folder to write in."""

    def __init__(self, path: Path, timeout: float = 1.0) -> None:
        self._path = path
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self._number = 0
        self._turn = asyncio.Lock()

    async def call(self, method: str, *params: str | int) -> Any:
        """The result of one command. Raises EdgeUnavailable, EdgeRefused."""
        (result,) = await self.calls((method, *params))
        if isinstance(result, EdgeRefused):
            raise result
        return result

    async def calls(self, *commands: tuple[str | int, ...]) -> list[Any]:
        """The result of each of these, or an EdgeRefused in its place. Given at once, done one after the other.

        Raises EdgeUnavailable.
        """
        async with self._turn:
            first = self._number + 1
            self._number += len(commands)
            asked = [_request(number, command) for number, command in enumerate(commands, first)]
            try:
                async with asyncio.timeout(self._timeout):
                    answers = await self._ask(asked, range(first, first + len(commands)))
            except TimeoutError:
                raise EdgeUnavailable(f"the edge does not answer on {self._path} within {self._timeout:g} s") from None
            except OSError as error:
                what = error.strerror or str(error)
                raise EdgeUnavailable(f"no edge on {self._path}: {what}; is `ivr edge run` running?") from error
        return [_result(command, answer) for command, answer in zip(commands, answers, strict=True)]

    async def _ask(self, requests: list[bytes], numbers: range) -> list[dict[str, Any]]:
        loop = asyncio.get_running_loop()
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            self._socket.bind("")
        for request in requests:
            while True:
                try:
                    # Not connected: a restarted edge has another socket under the same name.
                    self._socket.sendto(request, str(self._path))
                    break
                except BlockingIOError:
                    await asyncio.sleep(AGAIN_S)
        answers: dict[int, dict[str, Any]] = {}
        while len(answers) < len(numbers):
            answer: dict[str, Any] = json.loads(await loop.sock_recv(self._socket, LARGEST))
            if answer.get("id") in numbers:  # not the late answer to a call that was given up
                answers[answer["id"]] = answer
        return [answers[number] for number in numbers]

    def close(self) -> None:
        """Lets the socket go."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _request(number: int, command: tuple[str | int, ...]) -> bytes:
    method, *params = command
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": params, "id": number}).encode()


def _result(command: tuple[str | int, ...], answer: dict[str, Any]) -> Any:
    error = answer.get("error")
    if error is None:
        return answer.get("result")
    return EdgeRefused(str(command[0]), int(error.get("code", 0)), str(error.get("message", "?")))
