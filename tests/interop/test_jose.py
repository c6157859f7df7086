# SPDX-License-Identifier: GPL-3.0-or-later
"""Events, checked by a JOSE library (joserfc) and an SD-JWT library (sd-jwt, on jwcrypto) that wrote none of them."""

import base64
import json
from collections import defaultdict
from typing import Any

import pytest
from joserfc import jws
from joserfc.errors import BadSignatureError
from joserfc.jwk import OKPKey
from jwcrypto.common import JWException
from jwcrypto.jwk import JWK
from sd_jwt.verifier import SDJWTVerifier

from ivr.audit.source import EventRow, LogSource
from ivr.ledger.event import key_id
from ivr.ledger.keyring import KeyRing
from ivr.ledger.rotate import rotate
from ledger_kit import Home, joined, make_home, recorded_call

# RFC 9864 renames EdDSA with Ed25519 to "Ed25519"; the signature is the same, and the library says so.
pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated")


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A log of two keys."""
    home = make_home(tmp_path_factory.mktemp("log"))
    recorded_call(home)
    rotate(home.db, home.keys)
    home.append([joined(), joined()])
    return home


def keys(home: Home) -> dict[str, dict[str, str]]:
    """Each public key as a JWK, by its key id."""
    found = {}
    for vkey in KeyRing.read(home.keys / "ledger.vkey").keys:
        x = base64.urlsafe_b64encode(vkey.public).rstrip(b"=").decode()
        found[key_id(vkey.public)] = {"kty": "OKP", "crv": "Ed25519", "x": x}
    return found


def stored(home: Home) -> tuple[list[EventRow], dict[int, list[str]]]:
    disclosures = defaultdict(list)
    with LogSource(home.db) as source:
        for one in source.disclosures():
            disclosures[one.seq].append(one.text)
        return list(source.rows()), disclosures


def test_the_key_id_is_the_thumbprint_that_a_jose_library_computes(rotated: Home) -> None:
    for kid, jwk in keys(rotated).items():
        assert OKPKey.import_key(jwk).thumbprint() == kid
        assert JWK(**jwk).thumbprint() == kid


def test_every_event_verifies_with_joserfc(rotated: Home) -> None:
    rows, _ = stored(rotated)
    known = keys(rotated)
    assert len(rows) == 12
    for row in rows:
        kid = json.loads(base64.urlsafe_b64decode(row.jws.split(".")[0] + "=="))["kid"]
        found = jws.deserialize_compact(row.jws, OKPKey.import_key(known[kid]), algorithms=["EdDSA"])
        payload = json.loads(found.payload)
        assert found.headers() == {"alg": "EdDSA", "kid": kid, "typ": "consent-event+sd-jwt"}
        assert (payload["seq"], payload["id"], payload["type"]) == (row.seq, row.id, row.type)


def test_a_changed_event_is_refused_by_joserfc(rotated: Home) -> None:
    rows, _ = stored(rotated)
    header, payload, signature = rows[3].jws.split(".")
    first = OKPKey.import_key(next(iter(keys(rotated).values())))
    with pytest.raises(BadSignatureError):
        jws.deserialize_compact(f"{header}.{payload[:-2]}AA.{signature}", first, algorithms=["EdDSA"])


def test_personal_fields_are_those_that_an_sd_jwt_library_discloses(rotated: Home) -> None:
    rows, disclosures = stored(rotated)
    whole, erased = verified(rotated, rows[2], disclosures[2]), verified(rotated, rows[2], [])
    assert whole["caller"] == "sip:+4930123456@example.org"
    assert whole["dialled"] == "100"
    # Erasure leaves an SD-JWT that still verifies, and says nothing of the person.
    assert "caller" not in erased
    assert {name: value for name, value in whole.items() if name not in ("caller", "dialled")} == erased


def test_a_personal_field_that_was_not_signed_is_refused(rotated: Home) -> None:
    rows, disclosures = stored(rotated)
    foreign = next(texts for seq, texts in disclosures.items() if seq != 2)
    assert "address" not in verified(rotated, rows[2], foreign)


def test_an_sd_jwt_with_another_key_is_refused(rotated: Home) -> None:
    rows, _ = stored(rotated)
    with pytest.raises(JWException):
        verified(rotated, rows[2], [], key=-1)


def verified(home: Home, row: EventRow, disclosures: list[str], key: int = 0) -> dict[str, Any]:
    jwk = list(keys(home).values())[key]
    presentation = "~".join([row.jws, *disclosures, ""])
    payload: dict[str, Any] = SDJWTVerifier(presentation, lambda _issuer, _header: JWK(**jwk)).get_verified_payload()
    return payload
