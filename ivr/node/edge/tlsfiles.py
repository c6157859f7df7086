# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificate and key for TLS, read and seen to belong together before Kamailio gets them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from ivr.node.settings.edge import EdgeTls


class TlsFileError(Exception):
    """A certificate or key cannot be used; the message says which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM, as it was read."""

    certificate: bytes
    key: bytes
    trust: bytes | None


def read_tls(tls: EdgeTls, now: datetime | None = None) -> TlsFiles:
    """Raises TlsFileError."""
    certificate, key = _read(tls.certificate, "edge.tls.certificate"), _read(tls.key, "edge.tls.key")
    chain = _certificates(tls.certificate, certificate)
    if chain[0].not_valid_after_utc < (now or datetime.now(UTC)):
        raise TlsFileError(f"{tls.certificate} expired on {chain[0].not_valid_after_utc:%Y-%m-%d}: get a new one")
    try:
        public = load_pem_private_key(key, None).public_key()
    except (ValueError, TypeError) as error:
        raise TlsFileError(f"{tls.key} is no private key in PEM without a passphrase: {error}") from error
    if _spki(public) != _spki(chain[0].public_key()):
        raise TlsFileError(f"{tls.key} is not the key of {tls.certificate}: name the two that belong together")
    trust = None
    if tls.trust is not None:
        trust = _read(tls.trust, "edge.tls.trust")
        _certificates(tls.trust, trust)
    return TlsFiles(certificate, key, trust)


def _read(file: Path, setting: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise TlsFileError(f"{setting}: {file} cannot be read: {error.strerror}") from error


def _certificates(file: Path, data: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise TlsFileError(f"{file} holds no certificate in PEM: {error}") from error


def _spki(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined, no-any-return]
