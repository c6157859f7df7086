# SPDX-License-Identifier: GPL-3.0-or-later
"""The least of SIP that a caller and an agent need (RFC 3261), hand-written so that nothing is timed but the server."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from bench.rtp import EVENT, PCMU


@dataclass(frozen=True, slots=True)
class Message:
    """A parsed message. Header names are in lower case; the first of repeated ones counts, routes are joined."""

    start: str
    headers: Mapping[str, str]
    body: str

    @property
    def status(self) -> int:
        """Of a response, else 0."""
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0") else 0

    @property
    def method(self) -> str:
        """Of a request, or of the request that a response answers."""
        return self.headers["cseq"].split()[1] if self.status else self.start.split()[0]

    @property
    def call_id(self) -> str:
        return self.headers.get("call-id", "")

    @property
    def media(self) -> tuple[str, int]:
        """Where the SDP wants its audio. ValueError without any."""
        host = re.search(r"^c=IN IP4 (\S+)", self.body, re.MULTILINE)
        port = re.search(r"^m=audio (\d+)", self.body, re.MULTILINE)
        if host is None or port is None:
            raise ValueError(f"no audio in the SDP of\n{self.start}\n{self.body}")
        return host[1], int(port[1])


def parse(data: bytes) -> Message:
    """Raises ValueError for what is no SIP message."""
    head, _, body = data.decode(errors="replace").partition("\r\n\r\n")
    lines = head.split("\r\n")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(f"no SIP header: {line!r}")
        name, value = name.strip().lower(), value.strip()
        if name == "record-route" and name in headers:
            headers[name] += f", {value}"
        headers.setdefault(name, value)
    return Message(lines[0], headers, body)


def sdp(port: int) -> str:
    """Mu-law and telephone-event at 127.0.0.1."""
    lines = ["v=0", "o=bench 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0"]
    lines += [f"m=audio {port} RTP/AVP {PCMU} {EVENT}", f"a=rtpmap:{PCMU} PCMU/8000"]
    lines += [f"a=rtpmap:{EVENT} telephone-event/8000", f"a=fmtp:{EVENT} 0-15", "a=ptime:20", "a=sendrecv", ""]
    return "\r\n".join(lines)


def response(request: Message, status: str, contact: str, tag: str, body: str = "") -> bytes:
    """An answer to a request; `status` is code and phrase."""
    to = request.headers["to"]
    headers = {
        "Via": request.headers["via"],
        "From": request.headers["from"],
        "To": to if "tag=" in to else f"{to};tag={tag}",
        "Call-ID": request.call_id,
        "CSeq": request.headers["cseq"],
        "Contact": f"<{contact}>",
    }
    return assemble(f"SIP/2.0 {status}", headers, body)


def assemble(start: str, headers: Mapping[str, str], body: str = "") -> bytes:
    """A message with its length."""
    lines = [start, *(f"{name}: {value}" for name, value in headers.items())]
    lines += ["Content-Type: application/sdp"] if body else []
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode()


def token() -> str:
    """Something unique."""
    return secrets.token_hex(8)
