# SPDX-License-Identifier: GPL-3.0-or-later
"""Drives softphones in processes of their own: commands out, events in, waits that explain what they missed."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from demo.leash import hold

_ROOT = Path(__file__).parents[1]

Event = Mapping[str, Any]


class PeerTimeout(AssertionError):
    """An expected event did not come; the message holds everything that did."""


class PeerRefused(AssertionError):
    """A softphone could not do what it was told: the call is gone, or PJSIP said no."""


class Peer:
    """A softphone. Use it as a context manager; it is ended by its own process id.

    Events are kept from the start; `wait` looks at those after `mark()`, which `call()` sets by itself.
    """

    def __init__(
        self,
        name: str,
        *,
        port: int = 0,
        codecs: Sequence[str] = ("PCMU", "PCMA", "G722"),
        rate: int = 8000,
        telephone_event: bool = True,
        tone: float | None = None,
        level: float = -12.0,
        play: Path | None = None,
        record: Path | None = None,
    ) -> None:
        arguments = [sys.executable, "-m", "demo.peer", "--name", name, "--port", str(port), "--rate", str(rate)]
        arguments += ["--codecs", ",".join(codecs), "--level", str(level), "--record", str(record or "none")]
        arguments += [] if telephone_event else ["--no-telephone-event"]
        arguments += [] if tone is None else ["--tone", str(tone)]
        arguments += [] if play is None else ["--play", str(play)]
        self.name = name
        self._changed = threading.Condition()
        self._events: list[Event] = []
        self._mark = 0
        self._sent = 0
        self._errors: list[str] = []
        hold()
        self._process = subprocess.Popen(
            arguments,
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._read, self._read_errors)]
        for thread in self._threads:
            thread.start()

    # -- life ----------------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """Its SIP port; waits until it listens."""
        return int(self.wait("ready", since=0, within=20)["port"])

    @property
    def uri(self) -> str:
        """Where it can be rung."""
        return f"sip:{self.name}@127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def close(self) -> None:
        """Ends the process: asks, then kills. Harmless when it has ended."""
        try:
            if self._process.poll() is None and self._process.stdin is not None:
                self._post("quit", {})
                self._process.stdin.close()
            self._process.wait(timeout=8)
        except (subprocess.TimeoutExpired, OSError):
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            thread.join(timeout=2)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()

    def kill(self) -> None:
        """kill -9: no BYE, as a phone whose battery is empty."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            event = json.loads(line)
            with self._changed:
                self._events.append(event)
                self._changed.notify_all()
        with self._changed:
            self._events.append({"event": "eof", "at": time.monotonic_ns()})
            self._changed.notify_all()

    def _read_errors(self) -> None:
        for line in self._process.stderr or ():
            self._errors.append(line)

    # -- events --------------------------------------------------------------------------------------------------

    def mark(self) -> int:
        """From here on `wait` and `seen` look. Returns the place, for `since`."""
        with self._changed:
            self._mark = len(self._events)
            return self._mark

    def seen(self, event: str | None = None, *, since: int | None = None, **fields: object) -> list[Event]:
        """Events so far, of this name and with these fields."""
        with self._changed:
            return [
                e
                for e in self._events[self._mark if since is None else since :]
                if _matches(e, (event,) if event else (), fields)
            ]

    def wait(
        self, *names: str, within: float = 10, since: int | None = None, count: int = 1, **fields: object
    ) -> Event:
        """The `count`-th event of one of these names; PeerTimeout after `within` seconds, or when the process ends."""
        start = self._mark if since is None else since
        deadline = time.monotonic() + within
        with self._changed:
            while True:
                found = [e for e in self._events[start:] if _matches(e, names, fields)]
                if len(found) >= count:
                    return found[count - 1]
                left = deadline - time.monotonic()
                if left <= 0 or (self._events and self._events[-1]["event"] == "eof"):
                    raise PeerTimeout(self._explain(" or ".join(names), fields, within, count))
                self._changed.wait(left)

    def wait_sdp(self, line: str, *, within: float = 10) -> Event:
        """The first SDP since the mark that holds this line, wherever it came from."""
        deadline = time.monotonic() + within
        count = 1
        while True:
            event = self.wait("sdp", within=max(0.0, deadline - time.monotonic()), count=count)
            if line in event["text"].replace("\r", "").split("\n"):
                return event
            count += 1

    def _explain(self, event: str, fields: Mapping[str, object], within: float, count: int) -> str:
        wanted = " ".join([event, *(f"{name}={value!r}" for name, value in fields.items())])
        return f"{self.name}: no {wanted} (number {count}) within {within:g} s; it saw\n{self.story()}"

    def story(self) -> str:
        """Everything this softphone saw, one line an event, and what its process wrote to stderr."""
        first = self._events[0]["at"] if self._events else 0
        lines = []
        for event in self._events:
            if event["event"] == "done":
                continue
            rest = {k: v for k, v in event.items() if k not in ("event", "at", "head", "headers")}
            lines.append(f"  {(event['at'] - first) / 1e9:8.3f}  {event['event']:<13}{json.dumps(rest)[:300]}")
        return "\n".join([*lines, *("  stderr: " + line.rstrip() for line in self._errors[-40:])])

    # -- commands ------------------------------------------------------------------------------------------------

    def send(self, do: str, **fields: object) -> None:
        """A command; returns when it has been carried out. Fields that are None are left out. Raises PeerRefused."""
        self._post(do, fields)
        number = self._sent
        done = self.wait("done", "refused", since=0, n=number)
        if done["event"] == "refused":
            raise PeerRefused(f"{self.name}: {do} {fields}: {done['why']}\n{self.story()}")

    def _post(self, do: str, fields: Mapping[str, object]) -> None:
        self.wait("ready", since=0, within=20)
        self._sent += 1
        command = {"n": self._sent, "do": do, **{name: value for name, value in fields.items() if value is not None}}
        if self._process.stdin is None:
            raise PeerRefused(f"{self.name} has no stdin")
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def call(self, uri: str, *, headers: Mapping[str, str] | None = None, sdp: Sequence[str] | None = None) -> int:
        """Dials; marks. Returns the number of the call."""
        place = self.mark()
        self.send("call", uri=uri, headers=headers, sdp=sdp)
        return int(self.wait("calling", since=place)["call"])

    def incoming(self, action: str = "answer", **habits: object) -> None:
        """How calls are treated from now on: answer, ring or reject; see softphone.Habits."""
        self.send("incoming", action=action, **habits)

    def dtmf(self, keys: str, method: str = "rfc4733", *, ms: int | None = None, call: int | None = None) -> Event:
        """Presses keys: rfc4733, info or inband. Returns when the first packet was handed over."""
        count = len(self.seen("dtmf_sent", since=0)) + 1
        self.send("dtmf", keys=keys, method=method, ms=ms, call=call)
        return self.wait("dtmf_sent", since=0, count=count)

    def hangup(self, call: int | None = None, *, code: int | None = None) -> None:
        """BYE, CANCEL or a refusal. Harmless when the call is gone."""
        self.send("hangup", call=call, code=code)

    def hang_up_all(self) -> None:
        """Ends every call it still has, and waits for their end."""
        self.send("hangup_all")
        for event in self.seen("calling", since=0) + self.seen("incoming", since=0):
            self.wait("disconnected", since=0, call=event["call"])

    def listen(self, ms: int = 400, call: int | None = None) -> Event:
        """What the coming `ms` sound like: dbfs, hz, share (percent of the power near hz)."""
        count = len(self.seen("listened", since=0)) + 1
        self.send("listen", ms=ms, call=call)
        return self.wait("listened", since=0, count=count, within=10 + ms / 1000)

    def hear(self, hz: int, *, within: float = 8, call: int | None = None) -> Event:
        """Waits until a tone within 3 % of this frequency is what it hears."""
        deadline = time.monotonic() + within
        while True:
            heard = self.listen(300, call)
            if abs(heard["hz"] - hz) <= 0.03 * hz and heard["share"] > 80:
                return heard
            if time.monotonic() > deadline:
                raise PeerTimeout(f"{self.name} does not hear {hz} Hz within {within:g} s but {heard}\n{self.story()}")

    def hear_silence(self, *, within: float = 8, below: float = -55, call: int | None = None) -> Event:
        """Waits until it hears silence for 300 ms."""
        deadline = time.monotonic() + within
        while True:
            heard = self.listen(300, call)
            if heard["ms"] and heard["dbfs"] < below:
                return heard
            if time.monotonic() > deadline:
                raise PeerTimeout(f"{self.name} does not hear silence within {within:g} s but {heard}\n{self.story()}")

    def hear_nothing(self, ms: int = 600, *, below: float = -55, call: int | None = None) -> Event:
        """Listens for `ms`; PeerTimeout when it was not silent."""
        heard = self.listen(ms, call)
        if heard["dbfs"] > below:
            raise PeerTimeout(f"{self.name} hears something in what should be silence: {heard}\n{self.story()}")
        return heard


def _matches(event: Event, names: Sequence[str], fields: Mapping[str, object]) -> bool:
    return (not names or event["event"] in names) and all(event.get(k) == v for k, v in fields.items())
