# SPDX-License-Identifier: GPL-3.0-or-later
"""RFC 3161 time stamps of checkpoints: proof from outside that this history existed at that time.

What is stamped is the signed note of a checkpoint, as it is stored (SHA-256). The whole response is kept, with the
authority's certificates in it (`certReq`), so that it can be checked offline against the authority's root alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, VerificationError, VerifierBuilder
from rfc3161_client import decode_timestamp_response as decode

from ivr.ledger.web import post

QUERY, REPLY = "application/timestamp-query", "application/timestamp-reply"
_SHA256 = "2.16.840.1.101.3.4.2.1"


class StampError(Exception):
    """The authority did not stamp, or the stamp does not hold."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """A time stamp that holds: the response (DER), and the authority's time, UTC."""

    response: bytes
    time: datetime


def load_roots(file: Path) -> list[x509.Certificate]:
    """The authority's root certificates, PEM. Raises StampError."""
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError) as error:
        raise StampError(f"{file}: {error}") from None


def stamp(url: str, note: str, roots: Sequence[x509.Certificate]) -> Stamp:
    """Have a checkpoint's note stamped; the nonce, the content and the signature are checked. Raises StampError,
    Unreachable."""
    request = TimestampRequestBuilder(note.encode(), HashAlgorithm.SHA256, nonce=True, cert_req=True).build()
    answer = post(url, request.as_bytes(), QUERY)
    if answer.status != 200 or answer.kind != REPLY:
        raise StampError(f"{url}: HTTP {answer.status}, {answer.kind}: no time stamp")
    return check_stamp(answer.body, note, roots, nonce=request.nonce)


def check_stamp(response: bytes, note: str, roots: Sequence[x509.Certificate], *, nonce: int | None = None) -> Stamp:
    """Check a stored response, offline. Raises StampError saying what does not hold."""
    try:
        parsed = decode(response)
    except ValueError as error:
        raise StampError(f"not a time-stamp response: {error}") from None
    if parsed.status not in (0, 1):
        raise StampError(f"the authority refused: status {parsed.status} {' '.join(parsed.status_string)}".rstrip())
    try:
        info = parsed.tst_info
        builder = VerifierBuilder(roots=list(roots), nonce=nonce)
        builder.build().verify(parsed, sha256(note.encode()).digest())
    except (VerificationError, ValueError) as error:
        raise StampError(f"the time stamp does not hold: {error}") from None
    if info.message_imprint.hash_algorithm.dotted_string != _SHA256:
        raise StampError("the time stamp is over another hash than SHA-256")
    return Stamp(response, info.gen_time.astimezone(UTC))
