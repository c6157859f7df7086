# SPDX-License-Identifier: GPL-3.0-or-later
"""Ed25519 verification (RFC 8032 section 5.1.7, the cofactored equation), the fastest we measured from Python."""

from ed25519_zebra import ed_verify

_P = 2**255 - 19


def verify_ed25519(signature: bytes, message: bytes, public: bytes) -> bool:
    """True only for a valid signature. Wrong lengths and non-canonical encodings of R are not valid."""
    if len(signature) != 64 or len(public) != 32:
        return False
    # The library follows ZIP 215, which lets R be encoded in more than one way; RFC 8032 does not.
    if signature[31] & 0x7F == 0x7F and int.from_bytes(signature[:32], "little") & (2**255 - 1) >= _P:
        return False
    return bool(ed_verify(signature, message, public))
