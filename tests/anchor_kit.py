# SPDX-License-Identifier: GPL-3.0-or-later
"""A time-stamp authority made with openssl, and a small C2SP witness, each behind HTTP on 127.0.0.1."""

import base64
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ivr.audit.consistency import Extension
from ivr.ledger.cosignature import CosignerKey, cosign
from ivr.ledger.note import Checkpoint, NoteError, VKey, note_text, open_checkpoint
from ivr.ledger.proofs import ProofError, verify_consistency

Reply = tuple[int, str, bytes]

_CONFIG = """
[req]
distinguished_name = name
[name]
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
[signer]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[tsa]
default_tsa = one
[one]
serial = serial
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512, sha3-256
ess_cert_id_alg = sha256
signer_digest = sha256
"""


@contextmanager
def answering(answer: Callable[[str, str, bytes], Reply]) -> Iterator[str]:
    """The address of a server that answers each POST (path, content type, body) so."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, kind, reply = answer(self.path, self.headers["Content-Type"], body)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=30)


class Authority:
    """A time-stamp authority: a root, a signer below it, and `openssl ts -reply`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.asked = 0
        (folder / "tsa.cnf").write_text(_CONFIG)
        (folder / "serial").write_text("01\n")
        new = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-config", "tsa.cnf"]
        openssl(folder, *new, "-keyout", "root.key", "-x509", "-days", "30", "-subj", "/CN=Test root/",
                "-extensions", "root", "-out", "root.pem")  # fmt: skip
        openssl(folder, *new, "-keyout", "signer.key", "-subj", "/CN=Test authority/", "-out", "signer.csr")
        openssl(folder, "x509", "-req", "-in", "signer.csr", "-CA", "root.pem", "-CAkey", "root.key", "-days", "30",
                "-set_serial", "2", "-extfile", "tsa.cnf", "-extensions", "signer", "-out", "signer.pem")  # fmt: skip

    @property
    def root(self) -> Path:
        return self.folder / "root.pem"

    def answer(self, _path: str, kind: str, body: bytes) -> Reply:
        """As RFC 3161, section 3.4."""
        if kind != "application/timestamp-query":
            return 415, "text/plain", b"not a query"
        self.asked += 1
        (self.folder / "query").write_bytes(body)
        openssl(self.folder, "ts", "-reply", "-config", "tsa.cnf", "-section", "one", "-queryfile", "query",
                "-signer", "signer.pem", "-inkey", "signer.key", "-out", "reply")  # fmt: skip
        return 200, "application/timestamp-reply", (self.folder / "reply").read_bytes()


@dataclass
class Witness:
    """A witness of one log (C2SP tlog-witness). It remembers one checkpoint."""

    log: VKey
    name: str = "witness.example/w1"
    time: int = 1_780_000_000
    private: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    seen: Checkpoint | None = None

    @property
    def key(self) -> CosignerKey:
        return CosignerKey(self.name, self.private.public_key().public_bytes_raw())

    def answer(self, path: str, _kind: str, body: bytes) -> Reply:
        """As the specification orders the checks."""
        if path != "/add-checkpoint":
            return 404, "text/plain", b""
        try:
            request = Extension.parse(body.decode())
            claimed = Checkpoint.parse(note_text(request.note))
        except (ProofError, NoteError):
            return 400, "text/plain", b""
        if claimed.origin != self.log.name:
            return 404, "text/plain", b""
        try:
            now = open_checkpoint(request.note, self.log)
        except NoteError:
            return 403, "text/plain", b""
        if request.old > now.size:
            return 400, "text/plain", b""
        known = self.seen.size if self.seen else 0
        if request.old != known:
            return 409, "text/x.tlog.size", f"{known}\n".encode()
        if self.seen and known == now.size and self.seen.root != now.root:
            return 409, "text/plain", b""
        try:
            verify_consistency(known, self.seen.root if self.seen else _EMPTY, now.size, now.root, request.proof)
        except ProofError:
            return 422, "text/plain", b""
        self.seen = now
        self.time += 60
        other = cosign(request.note, CosignerKey("unknown.example/w", self.log.public), self.private.sign, self.time)
        line = cosign(request.note, self.key, self.private.sign, self.time)
        return 200, "text/plain; charset=utf-8", (other + line).encode()


_EMPTY = base64.b64decode("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")
