# SPDX-License-Identifier: GPL-3.0-or-later
"""One HTTP POST, bounded in time and size: all that time-stamp authorities and witnesses need."""

import urllib.error
import urllib.request
from dataclasses import dataclass
from urllib.parse import urlsplit

MAX_ANSWER = 1 << 20
TIMEOUT_S = 20.0


class Unreachable(Exception):
    """No answer: the network, the name, the time-out, or an answer that is too long."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whatever the status."""

    status: int
    kind: str
    body: bytes


def post(url: str, body: bytes, kind: str, timeout: float = TIMEOUT_S) -> Answer:
    """POST `body` as `kind`. Raises Unreachable. Redirects are not followed: a POST would become a GET."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise Unreachable(f"{url}: not an http or https address")
    request = urllib.request.Request(url, body, {"Content-Type": kind}, method="POST")
    opener = urllib.request.build_opener(_Stay)
    try:
        with opener.open(request, timeout=timeout) as reply:
            return _answer(url, reply.status, reply.headers.get_content_type(), reply.read(MAX_ANSWER + 1))
    except urllib.error.HTTPError as error:
        with error:
            return _answer(url, error.code, error.headers.get_content_type(), error.read(MAX_ANSWER + 1))
    except (OSError, ValueError) as error:
        raise Unreachable(f"{url}: {error}") from None


def _answer(url: str, status: int, kind: str, body: bytes) -> Answer:
    if len(body) > MAX_ANSWER:
        raise Unreachable(f"{url}: the answer is longer than {MAX_ANSWER} bytes")
    return Answer(status, kind, body)


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None
