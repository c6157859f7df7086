# SPDX-License-Identifier: GPL-3.0-or-later
"""A real edge in a folder of its own, and agents of bare sockets before and behind it."""

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import yaml

from demo.server import IVR, Ran, free_port, ivr
from ivr.node.edge.control import EdgeControl, EdgeStatus
from ivr.node.process import AFTER
from ivr.node.settings import Settings

T = TypeVar("T")
SDP = "v=0\r\no=- 1 1 IN {v} {a}\r\ns=-\r\nc=IN {v} {a}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
_SILENT = 0


@dataclass(frozen=True)
class Sip:
    """A message as it was on the wire."""

    start: str
    headers: tuple[tuple[str, str], ...]
    body: str
    raw: str

    @classmethod
    def parse(cls, data: bytes) -> Self:
        raw = data.decode(errors="replace")
        head, _, body = raw.partition("\r\n\r\n")
        lines = head.split("\r\n")
        pairs = tuple((name.strip().lower(), value.strip()) for name, _, value in (x.partition(":") for x in lines[1:]))
        return cls(lines[0], pairs, body, raw)

    def get(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name.lower()), "")

    def all(self, name: str) -> list[str]:
        found = [value for key, value in self.headers if key == name.lower()]
        return [part.strip() for value in found for part in value.split(",")]

    @property
    def status(self) -> int:
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0") else 0

    @property
    def method(self) -> str:
        return self.get("CSeq").split()[-1] if self.status else self.start.split()[0]

    @property
    def call(self) -> str:
        return self.get("Call-ID")


@dataclass
class Dialog:
    """One side of a call."""

    call: str
    ours: str
    theirs: str
    target: str
    routes: list[str] = field(default_factory=list)
    cseq: int = 1
    branch: str = ""


def token() -> str:
    return os.urandom(8).hex()


class Ua:
    """A SIP agent on one socket. It answers what comes as `answer` says: a status, or 0 for silence."""

    def __init__(
        self,
        to: tuple[str, int],
        *,
        kind: str = "udp",
        address: str = "127.0.0.1",
        port: int = 0,
        answer: Callable[[Sip], int] = lambda _: 200,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.to, self.kind, self.address, self.answer = to, kind, address, answer
        self.seen: list[Sip] = []
        self.dialogs: dict[str, Dialog] = {}
        self.peer = to
        self.muted = threading.Event()
        self.certificate = b""
        self._turn: AbstractContextManager[object] = nullcontext() if context is None else threading.Lock()
        self._changed = threading.Condition()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket: socket.socket = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((address, port))
        if kind != "udp":
            self._socket.settimeout(5)
            self._socket.connect(to)
            if context is not None:
                secured = context.wrap_socket(self._socket, server_hostname="edge.example")
                self.certificate = secured.getpeercert(binary_form=True) or b""
                self._socket = secured
        self.port: int = self._socket.getsockname()[1]
        self._socket.settimeout(0.1 if context is None else 0.02)
        self._closing = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def at(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    # -- wire ----------------------------------------------------------------------------------------------------

    def send(self, text: str, to: tuple[str, int] | None = None) -> None:
        if self.kind == "udp":
            self._socket.sendto(text.encode(), to or self.to)
        else:
            with self._turn:  # OpenSSL's connections are for one thread at a time
                self._socket.sendall(text.encode())

    def _read(self) -> None:
        buffer = b""
        while not self._closing:
            try:
                if self.kind == "udp":
                    data, self.peer = self._socket.recvfrom(65_536)[0:2]
                    self._took(data)
                    continue
                with self._turn:
                    data = self._socket.recv(65_536)
            except TimeoutError:
                time.sleep(0.005)  # or whoever sends would never get its turn
                continue
            except OSError:
                return
            if not data:
                with self._changed:
                    self._closing = True
                    self._changed.notify_all()
                return
            buffer += data
            buffer = self._split(buffer)

    def _split(self, buffer: bytes) -> bytes:
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            length = int(Sip.parse(buffer[: end + 4]).get("Content-Length") or 0)
            if len(buffer) < end + 4 + length:
                break
            self._took(buffer[: end + 4 + length])
            buffer = buffer[end + 4 + length :]
        return buffer

    def _took(self, data: bytes) -> None:
        if self.muted.is_set() or not data.strip():
            return
        message = Sip.parse(data)
        with self._changed:
            self.seen.append(message)
            self._changed.notify_all()
        if not message.status and message.method != "ACK":
            self._respond(message)

    def _respond(self, request: Sip) -> None:
        status = self.answer(request)
        if status == _SILENT:
            return
        body = ""
        if request.method == "INVITE" and status == 200:
            body = SDP.format(v="IP4", a="127.0.0.1")
            theirs = request.get("From")
            ours = request.get("To") + ("" if "tag=" in request.get("To") else f";tag={token()}")
            target = request.get("Contact").strip("<>").partition(">")[0]
            self.dialogs.setdefault(
                request.call, Dialog(request.call, ours, theirs, target, request.all("Record-Route"), 100)
            )
        self.send(self.reply(request, status, body), self.peer)

    def reply(self, request: Sip, status: int, body: str = "") -> str:
        """An answer as text."""
        dialog = self.dialogs.get(request.call)
        to = request.get("To")
        if "tag=" not in to:
            to = dialog.ours if dialog else f"{to};tag={token()}"
        lines = [f"SIP/2.0 {status} Said", *(f"Via: {via}" for via in request.all("Via"))]
        lines += [f"Record-Route: {route}" for route in request.all("Record-Route")]
        lines += [
            f"From: {request.get('From')}",
            f"To: {to}",
            f"Call-ID: {request.call}",
            f"CSeq: {request.get('CSeq')}",
        ]
        lines += [f"Contact: <sip:ua@{self.at}{self._transport()}>"]
        return _text(lines, body)

    def _transport(self) -> str:
        return "" if self.kind == "udp" else f";transport={self.kind}"

    # -- requests ------------------------------------------------------------------------------------------------

    def invite(
        self,
        uri: str,
        *,
        more: Sequence[str] = (),
        routes: Sequence[str] = (),
        body: str | None = None,
        user: str = "caller",
        contact: str | None = None,
        to: tuple[str, int] | None = None,
    ) -> Dialog:
        """Sends an INVITE; `uri` may be a number, dialled at the edge."""
        if not uri.startswith("sip"):
            host = f"[{self.to[0]}]" if ":" in self.to[0] else self.to[0]
            uri = f"sip:{uri}@{host}:{self.to[1]}{self._transport()}"
        dialog = Dialog(token(), f"<sip:{user}@example.org>;tag={token()}", f"<{uri}>", uri, list(routes), 1, token())
        version = "IP6" if ":" in self.address else "IP4"
        text = SDP.format(v=version, a=self.address) if body is None else body
        self.dialogs[dialog.call] = dialog
        message = self._request(dialog, "INVITE", more, text)
        if contact is not None:
            message = message.replace(f"Contact: <sip:ua@{self.at}{self._transport()}>", f"Contact: <{contact}>")
        self.send(message, to)
        return dialog

    def _request(self, dialog: Dialog, method: str, more: Sequence[str] = (), body: str = "") -> str:
        via = f"SIP/2.0/{self.kind.upper()} {self.at};rport;branch=z9hG4bK{dialog.branch}"
        lines = [f"{method} {dialog.target} SIP/2.0", f"Via: {via}", *(f"Route: {route}" for route in dialog.routes)]
        lines += ["Max-Forwards: 70", f"From: {dialog.ours}", f"To: {dialog.theirs}", f"Call-ID: {dialog.call}"]
        lines += [f"CSeq: {dialog.cseq} {method}", f"Contact: <sip:ua@{self.at}{self._transport()}>", *more]
        return _text(lines, body)

    def final(self, dialog: Dialog, within: float = 10, *, strict: bool = True) -> Sip:
        """The final answer to the INVITE, acknowledged; after a 200 the dialog is up. `strict`: with its routes."""
        answer = self.wait(lambda m: m.call == dialog.call and m.status >= 200 and m.method == "INVITE", within)
        dialog.theirs = answer.get("To")
        if answer.status == 200:
            dialog.target = answer.get("Contact").strip("<>").partition(">")[0]
            dialog.routes = list(reversed(answer.all("Record-Route"))) if strict else []
            dialog.branch = token()
        self.send(self._request(dialog, "ACK"))
        return answer

    def call(self, uri: str, *, strict: bool = True, **how: Any) -> tuple[Dialog, Sip]:
        """Dials and waits for the final answer."""
        dialog = self.invite(uri, **how)
        return dialog, self.final(dialog, strict=strict)

    def request(self, dialog: Dialog, method: str, within: float = 8, **how: Any) -> Sip:
        """A request in the dialog and its final answer."""
        dialog.cseq += 1
        dialog.branch = token()
        self.send(self._request(dialog, method, how.get("more", ()), how.get("body", "")))
        cseq = f"{dialog.cseq} {method}"
        return self.wait(lambda m: m.call == dialog.call and m.status >= 200 and m.get("CSeq") == cseq, within)

    def options(self, more: Sequence[str] = ()) -> Dialog:
        """Sends an OPTIONS outside of any dialog."""
        dialog = Dialog(token(), f"<sip:ua@{self.at}>;tag={token()}", "<sip:edge>", f"sip:{self.to[0]}:{self.to[1]}")
        dialog.branch = token()
        self.send(self._request(dialog, "OPTIONS", more))
        return dialog

    # -- seeing --------------------------------------------------------------------------------------------------

    def wait(self, wanted: Callable[[Sip], bool], within: float = 10) -> Sip:
        """The first message of this kind, past or to come."""
        deadline = time.monotonic() + within
        with self._changed:
            while True:
                for message in self.seen:
                    if wanted(message):
                        return message
                left = deadline - time.monotonic()
                if left <= 0 or self._closing:
                    raise AssertionError(f"did not come in {within} s; seen:\n" + "\n".join(m.start for m in self.seen))
                self._changed.wait(min(left, 1))

    def wait_request(self, method: str, call: str | None = None, within: float = 10) -> Sip:
        return self.wait(lambda m: not m.status and m.method == method and call in (None, m.call), within)

    def wait_until(self, holds: Callable[[], bool], within: float) -> None:
        """Waits until it holds."""
        deadline = time.monotonic() + within
        while not holds():
            if time.monotonic() > deadline:
                raise AssertionError("\n".join(m.start for m in self.seen))
            time.sleep(0.05)

    def count(self, method: str) -> int:
        """Different requests of this method."""
        with self._changed:
            return len({(m.call, m.get("CSeq")) for m in self.seen if not m.status and m.method == method})

    @property
    def gone(self) -> bool:
        """Whether the other side closed the connection."""
        return self._closing

    def close(self) -> None:
        self._closing = True
        with suppress(OSError):
            self._socket.close()
        self._reader.join(timeout=2)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _text(lines: Sequence[str], body: str) -> str:
    kind = ["Content-Type: application/sdp"] if body else []
    return "\r\n".join([*lines, *kind, f"Content-Length: {len(body)}", "", body])


class EdgeServer:
    """A server's folder with an edge that runs, and agents in the places of its workers."""

    def __init__(
        self, folder: Path, *, workers: int = 2, settings: Mapping[str, Any] | None = None, targets: Sequence[str] = ()
    ) -> None:
        self.folder = folder / "server"
        made = ivr("init", self.folder)
        assert made.status == 0, made.err
        self.port, inside = free_port(6000, 9998, 4), free_port(25_000, 27_000, 2)
        self.inside = ("127.0.0.1", inside)
        sip_port = free_port(27_002, 29_000, workers)
        chosen: dict[str, Any] = {
            "sip": {"port": self.port},
            "pool": {"max": max(workers, 2), "sip_port": sip_port},
            "media": {"port": 10_000, "port_range": 16 * max(workers, 2)},
            "edge": {"inside": {"port": inside}},
        }
        for group, values in (settings or {}).items():
            chosen.setdefault(group, {}).update(values)
        (self.folder / "server.yaml").write_text(yaml.safe_dump(chosen))
        for shipped in (self.folder / "flows").glob("*.yaml"):
            shipped.unlink()
        (self.folder / "flows" / "flows.yaml").write_text(yaml.safe_dump({"flows": _flow(targets)}, sort_keys=False))
        self.settings = Settings.load(self.folder)
        self.places = [("127.0.0.1", sip_port + n) for n in range(workers)]
        self._log = folder / "edge.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def public(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def start(self, within: float = 60, instead_of: "subprocess.Popen[bytes] | None" = None) -> Self:
        """Starts `ivr edge run` and waits for READY=1. `instead_of`: told to end once this one is prepared."""
        after = {AFTER: str(instead_of.pid)} if instead_of else {}
        with tempfile.TemporaryDirectory(prefix="assent-") as folder:
            path = str(Path(folder) / "notify")
            Path(folder).chmod(0o777)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
                ready.bind(path)
                Path(path).chmod(0o777)
                ready.settimeout(0.2)
                with self._log.open("ab") as log:
                    self.process = subprocess.Popen(
                        [str(IVR), "edge", "run", "--config", str(self.folder)],
                        env={**os.environ, "NOTIFY_SOCKET": path, **after},
                        stdout=subprocess.DEVNULL,
                        stderr=log,
                    )
                deadline = time.monotonic() + within
                if instead_of is not None:
                    self._wait_for(b"STATUS=prepared", ready, deadline)
                    instead_of.send_signal(signal.SIGTERM)
                    instead_of.wait(timeout=15)
                self._wait_for(b"READY=1", ready, deadline)
        return self

    def renew(self) -> Self:
        """Another takes its place, as when `ivr serve` starts every part anew."""
        return self.start(instead_of=self.process)

    def _wait_for(self, what: bytes, ready: socket.socket, deadline: float) -> None:
        while self.process is not None and self.process.poll() is None and time.monotonic() < deadline:
            with suppress(TimeoutError):
                if what in ready.recv(4096):
                    return
        self.stop()
        raise AssertionError(f"the edge is not ready:\n{self.log}")

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def stop(self) -> int:
        """SIGTERM, and its status."""
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"the edge did not stop:\n{self.log}") from None

    def worker(self, number: int, answer: Callable[[Sip], int] = lambda _: 200) -> Ua:
        """An agent in the place of a worker."""
        return Ua(self.inside, port=self.places[number][1], answer=answer)

    def tell(self, command: Callable[[EdgeControl], Awaitable[T]]) -> T:
        """A command to the running edge."""

        async def run() -> T:
            control = EdgeControl.of(self.settings)
            try:
                return await command(control)
            finally:
                control.close()

        return asyncio.run(run())

    def enable(self, *names: str) -> None:
        for name in names:
            self.tell(lambda control, name=name: control.enable(name))  # type: ignore[misc]

    def status(self) -> EdgeStatus:
        return self.tell(lambda control: control.status())

    def wait_status(self, wanted: Callable[[EdgeStatus], bool], within: float = 10) -> EdgeStatus:
        deadline = time.monotonic() + within
        while not wanted(status := self.status()):
            if time.monotonic() > deadline:
                raise AssertionError(f"{status}\n{self.log[-4000:]}")
            time.sleep(0.05)
        return status

    def wait_log(self, text: str, within: float = 30) -> None:
        """Waits until the edge has written this."""
        deadline = time.monotonic() + within
        while text not in self.log:
            if time.monotonic() > deadline:
                raise AssertionError(f"not written: {text}\n{self.log[-4000:]}")
            time.sleep(0.05)

    def ivr(self, *arguments: object) -> Ran:
        return ivr(*arguments, "--config", self.folder)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def _flow(targets: Sequence[str]) -> dict[str, Any]:
    bridge = {"bridge": {"targets": list(targets or ["sip:agent@127.0.0.1:9"]), "fallback": "end", "record": "never"}}
    step = {"consent": {"mode": "never", "lawful_basis": "contract"}}
    sections = {"main": [step, bridge, "hangup"], "end": ["hangup"]}
    return {"test": {"numbers": ["default"], "language": "en", "sections": sections}}


def as_json(text: str) -> Any:
    return json.loads(text)


PYTHON = sys.executable
