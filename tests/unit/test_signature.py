# SPDX-License-Identifier: GPL-3.0-or-later
"""Ed25519: the vectors of RFC 8032, and encodings that only a lenient verifier accepts."""

import pytest

from ivr.ledger.signature import verify_ed25519

# RFC 8032 section 7.1, tests 1 to 3: public key, message, signature.
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]
ORDER = 2**252 + 27742317777372353535851937790883648493


@pytest.mark.parametrize(("public", "message", "signature"), VECTORS)
def test_the_vectors_of_rfc_8032(public: str, message: str, signature: str) -> None:
    key, text, signed = (bytes.fromhex(value) for value in (public, message, signature))
    assert verify_ed25519(signed, text, key)
    assert not verify_ed25519(signed, text + b"x", key)
    assert not verify_ed25519(signed[:-1], text, key)
    assert not verify_ed25519(signed + b"x", text, key)
    assert not verify_ed25519(signed, text, key[:-1])
    for place in range(64):
        changed = bytearray(signed)
        changed[place] ^= 1
        assert not verify_ed25519(bytes(changed), text, key)


def test_a_malleated_signature_is_refused() -> None:
    public, message, signature = (bytes.fromhex(value) for value in VECTORS[1])
    s = int.from_bytes(signature[32:], "little") + ORDER
    assert not verify_ed25519(signature[:32] + s.to_bytes(32, "little"), message, public)


def test_a_second_encoding_of_r_is_refused() -> None:
    # The neutral point has y = 1; y = 1 + p encodes it again. With the neutral point as key and s = 0 it verifies
    # for a verifier that follows ZIP 215, whatever the message.
    neutral, again = (1).to_bytes(32, "little"), (2**255 - 18).to_bytes(32, "little")
    assert verify_ed25519(neutral + bytes(32), b"any", neutral)
    assert not verify_ed25519(again + bytes(32), b"any", neutral)
