# SPDX-License-Identifier: GPL-3.0-or-later
"""One event of the log: an SD-JWT (RFC 9901) signed with Ed25519 (RFC 8037). Shared by the writer and the auditor.

The JWS (without disclosures) is what is hashed, chained and put in the tree. Personal fields are disclosures kept
beside it; deleting them leaves the signature, the chain and the tree as they were.
"""

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from ivr.ledger import canonical
from ivr.ledger.canonical import CanonicalError, Json, b64url, unb64url
from ivr.ledger.signature import verify_ed25519

VERSION = 1
TYP = "consent-event+sd-jwt"
# Entry bundles of C2SP tlog-tiles carry a 16-bit length.
MAX_JWS = 65_535
# Of that, less header, signature and the rest of the payload, times 3/4: what one event's data may be, as JSON.
MAX_DATA = 47_000
SALT_BYTES = 16

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_DIGEST = r"[A-Za-z0-9_-]{43}"
_TIME = r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\.[0-9]{6}Z"
_TYPE = r"[a-z]+(?:\.[a-z_]+){1,3}"
# All in one match: verification reads millions of these. No part of the pattern can match the separator.
_FRAME = re.compile(f"(?P<id>{_UUID})\n(?P<call>{_UUID})?\n(?P<time>{_TIME})\n(?P<type>{_TYPE})\n(?P<prev>{_DIGEST})?")
_DIGESTS = re.compile(f"{_DIGEST}(?:,{_DIGEST})*")
_PARTS = {"id": _UUID, "call": _UUID, "time": _TIME, "type": _TYPE, "prev": _DIGEST}

_PLAIN = frozenset({"v", "log", "seq", "prev", "id", "time", "call", "type", "data"})
_WITH_SD = _PLAIN | {"_sd", "_sd_alg"}
RESERVED = _WITH_SD | {"..."}


class EventError(ValueError):
    """An event that is not what the format says, or whose signature does not hold."""


@dataclass(frozen=True, slots=True)
class Disclosure:
    """One personal field: base64url of `[salt, name, value]` (RFC 9901 section 4.2.1) and its digest."""

    name: str
    value: Json
    text: str
    digest: str


@dataclass(frozen=True, slots=True)
class Event:
    """The signed payload. `prev` is None for the first event; `sd` are the digests of the personal fields."""

    log: str
    seq: int
    prev: str | None
    id: str
    time: str
    call: str | None
    type: str
    data: Mapping[str, Any]
    sd: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Signed:
    """An event as it is stored: the compact JWS and its disclosures."""

    event: Event
    jws: str
    disclosures: tuple[Disclosure, ...]

    def presentation(self) -> str:
        """The SD-JWT with all disclosures, `<jws>~<d1>~…~` (RFC 9901 section 4)."""
        return "~".join([self.jws, *(d.text for d in self.disclosures), ""])


def key_id(public: bytes) -> str:
    """The JWK thumbprint (RFC 7638, RFC 8037 appendix A.3) of a raw 32-byte Ed25519 public key."""
    jwk = b'{"crv":"Ed25519","kty":"OKP","x":"' + b64url(public) + b'"}'
    return b64url(sha256(jwk).digest()).decode()


def header_segment(kid: str) -> bytes:
    """The one header an event of this key may have, already encoded."""
    return b64url(canonical.dumps({"alg": "EdDSA", "kid": kid, "typ": TYP}))


def jws_hash(jws: bytes) -> str:
    """What the next event carries as `prev`."""
    return b64url(sha256(jws).digest()).decode()


def disclose(name: str, value: Json) -> Disclosure:
    """A new disclosure with a fresh 128-bit salt. Raises EventError for a name the payload itself uses."""
    if name in RESERVED:
        raise EventError(f"a personal field cannot be called {name!r}: the payload uses that name")
    salt = b64url(secrets.token_bytes(SALT_BYTES)).decode()
    text = b64url(canonical.dumps([salt, name, value]))
    return Disclosure(name, value, text.decode(), _digest(text))


def sign(event: Event, personal: Mapping[str, Json], kid: str, signer: Callable[[bytes], bytes]) -> Signed:
    """Sign `event`, whose `sd` is filled in from `personal`. Raises EventError for what `parse` would refuse."""
    try:
        disclosures = tuple(disclose(name, value) for name, value in sorted(personal.items()))
        payload: dict[str, Json] = {
            "v": VERSION,
            "log": event.log,
            "seq": event.seq,
            "prev": event.prev,
            "id": event.id,
            "time": event.time,
            "call": event.call,
            "type": event.type,
            "data": event.data,
        }
        if disclosures:
            payload["_sd_alg"] = "sha-256"
            payload["_sd"] = sorted(d.digest for d in disclosures)
        # Never persist what the verifier would refuse: the payload goes through the parser's own checks.
        signed_event = _event(payload)
        body = header_segment(kid) + b"." + b64url(canonical.dumps(payload))
    except CanonicalError as error:
        raise EventError(f"{event.type} cannot be signed: {error}") from None
    jws = body + b"." + b64url(signer(body))
    if len(jws) > MAX_JWS:
        raise EventError(f"{event.type} is {len(jws)} bytes; a log entry holds at most {MAX_JWS}")
    return Signed(signed_event, jws.decode(), disclosures)


def verify(jws: bytes, header: bytes, public: bytes) -> Event:
    """Parse strictly and check the signature. `header` is header_segment() of the expected key.

    Raises EventError saying which part does not hold.
    """
    body, dot, signature = jws.rpartition(b".")
    event = parse(jws, header)
    try:
        raw = unb64url(signature)
    except CanonicalError as error:
        raise EventError(f"signature: {error}") from None
    if not dot or not verify_ed25519(raw, body, public):
        raise EventError("the signature does not belong to these bytes and this key")
    return event


def parse(jws: bytes, header: bytes) -> Event:
    """The payload of an event whose signature is NOT checked here. Raises EventError."""
    if len(jws) > MAX_JWS:
        raise EventError(f"{len(jws)} bytes; a log entry holds at most {MAX_JWS}")
    parts = jws.split(b".")
    if len(parts) != 3:
        raise EventError(f"a JWS has three parts, this has {len(parts)}")
    if parts[0] != header:
        raise EventError("the header is not the one of the expected key (alg EdDSA, kid, typ)")
    try:
        payload = canonical.loads(unb64url(parts[1]))
    except CanonicalError as error:
        raise EventError(f"payload: {error}") from None
    return _event(payload)


def peek(jws: str) -> Event:
    """What an event says, for showing to people: neither its key nor its signature is looked at. Raises EventError."""
    header = jws.partition(".")[0].encode()
    return parse(jws.encode(), header)


def parse_disclosure(text: str) -> Disclosure:
    """A stored disclosure. Raises EventError when it is not `[salt, name, value]` in canonical form."""
    raw = text.encode()
    try:
        content = canonical.loads(unb64url(raw))
    except CanonicalError as error:
        raise EventError(f"disclosure: {error}") from None
    if not isinstance(content, list) or len(content) != 3:
        raise EventError("disclosure: not [salt, name, value]")
    salt, name, value = content
    if not isinstance(salt, str) or not isinstance(name, str) or name in RESERVED:
        raise EventError("disclosure: the salt or the name is not one")
    return Disclosure(name, value, text, _digest(raw))


def match_disclosures(event: Event, texts: Iterable[str]) -> tuple[Disclosure, ...]:
    """The disclosures of an event. Fewer than its digests is fine (erased); one that matches none, or twice, is not."""
    left = set(event.sd)
    found: list[Disclosure] = []
    for text in texts:
        disclosure = parse_disclosure(text)
        if disclosure.digest not in left:
            raise EventError(f"disclosure {disclosure.name!r} does not belong to this event")
        left.remove(disclosure.digest)
        found.append(disclosure)
    return tuple(found)


def _digest(text: bytes) -> str:
    return b64url(sha256(text).digest()).decode()


def _event(payload: Json) -> Event:
    if not isinstance(payload, dict):
        raise EventError("payload: not an object")
    p: dict[str, Any] = payload
    names = p.keys()
    if names != _PLAIN and names != _WITH_SD:
        wrong = sorted(names ^ _PLAIN - {"_sd", "_sd_alg"}) or ["_sd without _sd_alg, or the reverse"]
        raise EventError(f"payload: missing or unknown fields: {', '.join(wrong)}")
    _check_frame(p)
    sd: tuple[str, ...] = ()
    if "_sd" in p:
        _check_digests(p["_sd"], p["_sd_alg"])
        sd = tuple(p["_sd"])
    return Event(p["log"], p["seq"], p["prev"], p["id"], p["time"], p["call"], p["type"], p["data"], sd)


def _check_frame(p: dict[str, Any]) -> None:
    seq, prev, call = p["seq"], p["prev"], p["call"]
    if type(p["v"]) is not int or p["v"] != VERSION:
        raise EventError(f"payload: version {p['v']!r}; this program reads version {VERSION}")
    if type(seq) is not int or seq < 0:
        raise EventError("payload: seq is not a whole number")
    if (seq == 0) != (prev is None):
        raise EventError("payload: prev is null for the first event, and for no other")
    if type(p["log"]) is not str or type(p["data"]) is not dict:
        raise EventError("payload: log or data has the wrong form")
    # What is falsy and not null would pass for null below.
    if (call is not None and not call) or (prev is not None and not prev):
        raise EventError("payload: call or prev is empty")
    try:
        frame = "\n".join((p["id"], call or "", p["time"], p["type"], prev or ""))
    except TypeError:
        frame = ""
    if _FRAME.fullmatch(frame) is None:
        raise EventError(f"payload: {_wrong_part(p)} has the wrong form")


def _wrong_part(p: dict[str, Any]) -> str:
    wrong = [n for n, form in _PARTS.items() if p[n] is not None and not re.fullmatch(form, str(p[n]))]
    return ", ".join(wrong) or "id, call, time, type or prev"


def _check_digests(sd: object, algorithm: object) -> None:
    if algorithm != "sha-256":
        raise EventError(f"payload: _sd_alg is {algorithm!r}, not 'sha-256'")
    try:
        good = isinstance(sd, list) and _DIGESTS.fullmatch(",".join(sd)) is not None
    except TypeError:
        good = False
    if not good or not isinstance(sd, list):
        raise EventError("payload: _sd is not a list of SHA-256 digests")
    if sorted(set(sd)) != sd:
        raise EventError("payload: _sd is not sorted, or has a digest twice")
