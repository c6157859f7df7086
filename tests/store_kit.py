# SPDX-License-Identifier: GPL-3.0-or-later
"""A real S3 server program in a process of its own (moto's, from PyPI), and a wire to it that can be cut.

What moto is not: it keeps everything in memory, so a server that was killed comes back empty; it checks signatures only
when it was told to; it knows no network, which is why the wire is here.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

BUCKET = "recordings"
KEY, SECRET = "testing-key", "testing-secret"
_START_S = 60.0


def until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """The condition's first true value. Fails with `what` after so long."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.02)
    return value


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@dataclass
class S3Server:
    """The program. Started and ended by the test that made it."""

    port: int
    unsigned: int | None = None
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        env = {**os.environ, "PYTHONWARNINGS": "ignore"}
        if self.unsigned is not None:
            env["INITIAL_NO_AUTH_ACTION_COUNT"] = str(self.unsigned)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(self._answers, "the S3 server answers", _START_S)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the S3 server ended"
        try:
            # No action of the store: it would count as one that needs no signature.
            with socket.create_connection(("127.0.0.1", self.port), 1):
                return True
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL; what it held is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(20)
            self.process = None

    def client(self, service: str = "s3", key: str = KEY, secret: str = SECRET) -> Any:
        """The store as somebody else sees it, past our code."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            region_name="us-east-1",
            config=Config(retries={"max_attempts": 1}, connect_timeout=5, read_timeout=30),
        )

    def bucket(self, *, versions: bool = False, name: str = BUCKET) -> None:
        client = self.client()
        client.create_bucket(Bucket=name)
        if versions:
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})

    def objects(self, name: str = BUCKET) -> dict[str, bytes]:
        """Every object that is visible, whole."""
        client = self.client()
        listed = client.list_objects_v2(Bucket=name).get("Contents", ())
        return {one["Key"]: client.get_object(Bucket=name, Key=one["Key"])["Body"].read() for one in listed}

    def versions(self, name: str = BUCKET) -> list[str]:
        """Keys of all versions and delete markers."""
        page = self.client().list_object_versions(Bucket=name)
        return [one["Key"] for one in [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]]


@contextmanager
def s3_server(unsigned: int | None = None) -> Iterator[S3Server]:
    server = S3Server(free_port(), unsigned)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@dataclass
class Wire:
    """A TCP relay to the server: `cut` makes it refuse, `limit` breaks each connection after so many bytes sent."""

    target: int
    port: int = field(default_factory=free_port)
    limit: int | None = None
    sent: int = 0
    _listener: socket.socket | None = None
    _open: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def join(self) -> None:
        """Let connections through."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen()
        self._listener = listener
        self._spawn(self._accept, listener)

    def cut(self) -> None:
        """Refuse new connections and break those that are up."""
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for sock in self._open:
            _break(sock)
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()
        for sock in self._open:
            sock.close()
        self._open.clear()
        self._threads.clear()

    def _spawn(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target), 10)
            except OSError:
                near.close()
                continue
            self._open += [near, far]
            self._spawn(self._relay, near, far, True)
            self._spawn(self._relay, far, near, False)

    def _relay(self, source: socket.socket, target: socket.socket, outward: bool) -> None:
        passed = 0
        try:
            while data := source.recv(4096):
                passed += len(data)
                if outward:
                    self.sent += len(data)
                    if self.limit is not None and passed > self.limit:
                        break
                target.sendall(data)
        except OSError:
            pass
        finally:
            _break(source)
            _break(target)


def _break(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


@contextmanager
def wire(server: S3Server) -> Iterator[Wire]:
    relay = Wire(server.port)
    relay.join()
    try:
        yield relay
    finally:
        relay.cut()


def credentials_file(path: Path, key: str = KEY, secret: str = SECRET) -> Path:
    path.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
    path.chmod(0o600)
    return path
