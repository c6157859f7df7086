# SPDX-License-Identifier: GPL-3.0-or-later
"""The signed form of a vCon: JWS in General JSON Serialization (RFC 7515 section 7.2.1), RS256, chain in `x5c`.

The X.509 key is not the log's key: it says who hands the vCon over, not that its content is true.
"""

import base64
import json
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ivr.export.errors import ExportError
from ivr.ledger.canonical import b64url

LEAST_BITS = 2048


class VconSigner:
    """A key and the certificates that lead to it, the key's own first."""

    def __init__(self, key: Path, certificates: Path, password: bytes | None = None) -> None:
        """Both are PEM files. Raises ExportError when they cannot be used or do not belong together."""
        self._key = _load_key(key, password)
        self._chain = _load_chain(certificates)
        if self._chain[0].public_key() != self._key.public_key():
            raise ExportError(f"its first certificate is not that of {key}", certificates, "the key's own comes first")

    def sign(self, vcon: dict[str, Any]) -> dict[str, Any]:
        """The signed form."""
        payload = b64url(json.dumps(vcon, ensure_ascii=False, separators=(",", ":")).encode())
        # RFC 7515: no name may stand in both headers. What must not be exchanged is in the protected one.
        protected = b64url(json.dumps({"alg": "RS256", "typ": "vcon"}, separators=(",", ":")).encode())
        signature = self._key.sign(protected + b"." + payload, padding.PKCS1v15(), hashes.SHA256())
        chain = [base64.b64encode(c.public_bytes(serialization.Encoding.DER)).decode() for c in self._chain]
        return {
            "payload": payload.decode(),
            "signatures": [
                {
                    "header": {"x5c": chain, "uuid": vcon["uuid"]},
                    "protected": protected.decode(),
                    "signature": b64url(signature).decode(),
                }
            ],
        }


def _load_key(path: Path, password: bytes | None) -> RSAPrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password)
    except (OSError, ValueError, TypeError) as error:
        raise ExportError(f"cannot be used as a key: {error}", path, "expected a PEM file with an RSA key") from error
    if not isinstance(key, RSAPrivateKey) or key.key_size < LEAST_BITS:
        raise ExportError(f"is no RSA key of {LEAST_BITS} bits or more, as RS256 needs", path)
    return key


def _load_chain(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ExportError(f"holds no certificates: {error}", path, "expected PEM, the key's own first") from error
