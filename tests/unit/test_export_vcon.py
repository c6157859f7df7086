# SPDX-License-Identifier: GPL-3.0-or-later
"""The vCon of a call: valid, never more than the log says, and signed as others read it."""

import base64
import hashlib
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import soundfile
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jws
from joserfc.jwk import RSAKey

from export_kit import Played, facts_of, played, proofs_of
from ivr.audit.receipt import Receipt, check_receipt
from ivr.export import vcon
from ivr.export.errors import ExportError, NotTrusted
from ivr.export.facts import gather
from ivr.export.jws import VconSigner
from ivr.export.lawful_basis import content_hash
from ivr.ledger import canonical
from ivr.ledger.keyring import KeyRing
from ivr.ledger.keys import LedgerKey
from ivr.vault.export import wav
from vcon_schema import mistakes

ALL = [
    "opt-out-silence",
    "opt-in-accept-in-window",
    "opt-in-silence",
    "opt-out-refuse-in-notice",
    "opt-out-no-key-path",
    "withdraw-caller-keep",
    "withdraw-caller-erase",
    "hangup-in-notice",
    "hold-in-call",
    "two-agents",
    "agent-all-busy",
    "never",
    "no-consent-step",
    "required-silence",
]


def made(case: str, **options: Any) -> dict[str, Any]:
    return vcon.build(facts_of(case), proofs_of(case), vcon.Options(**options))


def bases(value: dict[str, Any]) -> list[dict[str, Any]]:
    return [one["body"] for one in value["attachments"] if one["purpose"] == "lawful_basis"]


def grants(value: dict[str, Any]) -> list[bool]:
    return [body["purpose_grants"][0]["granted"] for body in bases(value)]


@pytest.mark.parametrize("case", ALL)
def test_it_is_a_vcon_and_plain_json(case: str) -> None:
    value = made(case)
    assert mistakes(value) == []
    assert json.loads(json.dumps(value)) == value
    assert ("lawful_basis" in value["extensions"], "critical" in value) == (True, False)


def test_the_schema_finds_mistakes() -> None:
    """The checker above is worth something."""
    good = made("hold-in-call")
    for path, wrong in {
        ("dialog", 0, "type"): "audio",
        ("dialog", 0, "party_history", 0, "event"): "came",
        ("dialog", 0, "parties"): [0, 7],
        ("uuid",): "01a1ffd6-be82-7d3f-ab83-a1fd14cfaf06",
        ("created_at",): "yesterday",
        ("attachments", 0, "party"): 9,
    }.items():
        bad = json.loads(json.dumps(good))
        at: Any = bad
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = wrong
        assert mistakes(bad), path


@pytest.mark.parametrize(
    ("case", "basis", "granted"),
    [
        ("opt-out-silence", "legitimate_interests", [True]),
        ("opt-in-accept-in-window", "consent", [True]),
        ("opt-in-silence", "consent", [False]),
        ("opt-out-refuse-in-notice", "legitimate_interests", [False]),
        ("opt-out-no-key-path", "legitimate_interests", [False]),
        ("withdraw-caller-keep", "legitimate_interests", [True, False]),
        ("hangup-in-notice", "legitimate_interests", [False]),
        ("never", None, []),
        ("required-silence", "legal_obligation", [True]),
    ],
)
def test_the_basis_is_the_policys_and_the_grant_the_callers(case: str, basis: str | None, granted: list[bool]) -> None:
    value = made(case)
    if basis is None:
        assert not any(grants(value))
        return
    assert {body["lawful_basis"] for body in bases(value)} == {basis}
    assert grants(value) == granted


def test_silence_is_never_called_consent() -> None:
    text = json.dumps(bases(made("opt-out-silence")))
    assert '"lawful_basis": "consent"' not in text
    assert '"method": "silence"' in text


def test_a_body_carries_its_own_hash() -> None:
    for body in bases(made("withdraw-caller-keep")):
        bare = {name: value for name, value in body.items() if name != "content_hash"}
        assert body["content_hash"] == content_hash(bare)
        assert body["content_hash"]["value"] == hashlib.sha256(canonical.dumps(bare)).hexdigest()
        bare["purpose_grants"][0]["granted"] ^= True
        assert content_hash(bare) != body["content_hash"]


def test_the_proof_holds_with_the_logs_key_alone() -> None:
    server = played("withdraw-caller-keep")
    for body in bases(made("withdraw-caller-keep")):
        (proof,) = body["proof_mechanisms"]
        data = proof["proof_data"]
        assert proof["proof_type"] == "external_system"
        checked = check_receipt(Receipt.parse(data["tlog_proof"]), server.keys.keys, data["event"].encode())
        assert (checked.index, checked.checkpoint.origin) == (data["leaf_index"], data["tlog_origin"])
    assert (data["method"], data["digit"]) == ("dtmf", "9")


def test_the_whole_call_can_be_checked_from_it() -> None:
    server = played("hold-in-call")
    log = next(one["body"] for one in made("hold-in-call")["attachments"] if one["purpose"] == "consent_log")
    events = [server.keys.verify(jws.encode()) for jws in log["events"]]
    assert [event.type for event in events] == [event.type for event in server.events()]


def test_keys_holds_and_who_was_there() -> None:
    (dialog,) = made("withdraw-caller-keep")["dialog"]
    keys = [moment for moment in dialog["party_history"] if moment["event"].startswith("key")]
    assert [(moment["event"], moment["button"], moment["party"]) for moment in keys] == [("keydown", "9", 0)]
    (held,) = made("hold-in-call")["dialog"]
    assert [m["event"] for m in held["party_history"] if m["party"] == 0] == ["join", "hold", "unhold", "drop"]
    assert dialog["parties"] == [0, 1]


def test_a_second_agent_is_a_party_of_their_own() -> None:
    value = made("two-agents")
    assert len(value["parties"]) == 3
    assert [dialog["parties"] for dialog in value["dialog"]] == [[0, 1], [0, 2]]


def test_nobody_is_named_unless_asked() -> None:
    server = played("opt-out-silence")
    assert "+49" not in json.dumps(made("opt-out-silence"))
    assert made("opt-out-silence")["parties"][0]["name"] == "anonymous"
    facts = server.facts(with_personal=True)
    caller, agent = vcon.build(facts, ())["parties"]
    assert caller["tel"].startswith("tel:+49")
    assert agent["sip"].startswith("sip:")


def test_without_audio_it_says_so() -> None:
    assert made("hold-in-call")["redacted"] == {"type": "audio left out"}
    assert "body" not in made("hold-in-call")["dialog"][0]
    assert made("withdraw-caller-erase")["redacted"] == {"type": "recordings erased"}
    assert "redacted" not in made("opt-out-refuse-in-notice")


def test_with_audio_it_holds_every_sample() -> None:
    server = played("hold-in-call")
    (one,) = facts_of("hold-in-call").recordings
    opened = server.opened(one.id)
    content = b"".join(wav(opened, opened.rate))
    value = made("hold-in-call", audio={one.id: vcon.Audio("audio/x-wav", content)})
    assert mistakes(value) == []
    assert "redacted" not in value
    body = value["dialog"][0]["body"]
    audio, rate = soundfile.read(io.BytesIO(base64.urlsafe_b64decode(body + "==")), dtype="int16")
    assert (audio == opened.audio()).all()
    assert round(len(audio) / rate, 3) == value["dialog"][0]["duration"]


@pytest.mark.parametrize(("case", "why"), [("hangup-in-notice", "hung-up"), ("agent-all-busy", "busy")])
def test_a_call_that_never_came_to_a_conversation(case: str, why: str) -> None:
    (dialog,) = made(case)["dialog"]
    assert (dialog["type"], dialog["disposition"]) == ("incomplete", why)


def test_a_conversation_that_was_not_recorded_has_no_dialog() -> None:
    """No type of the draft says that people spoke and nothing was kept; a wrong one would say something else."""
    assert made("opt-out-refuse-in-notice")["dialog"] == []


def test_the_uuid_is_version_8_of_this_host_and_time() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    text = vcon.uuid8("example.org/consent-log", now).replace("-", "")
    host = int.from_bytes(hashlib.sha1(b"example.org").digest()[:8], "big") >> 2
    value = int(text, 16)
    assert value >> 80 == int(now.timestamp() * 1000)
    assert (value >> 76 & 15, value >> 62 & 3, value & 2**62 - 1) == (8, 2, host)


def test_a_call_that_is_up_is_not_exported() -> None:
    server = played("hold-in-call")
    facts = gather([e for e in server.events() if e.type != "call.ended"], server.keys)
    with pytest.raises(ExportError, match="not over"):
        vcon.build(facts, ())


def test_an_event_that_was_not_signed_is_not_passed_on() -> None:
    server = played("hold-in-call")
    events = server.events()
    stranger = KeyRing((LedgerKey.of(server.keys.first.name, Ed25519PrivateKey.generate()).vkey,))
    with pytest.raises(NotTrusted, match="does not hold"):
        gather(events, stranger)
    head, _, signature = events[3].jws.rpartition(".")
    forged = type(events[3])(
        **{n: getattr(events[3], n) for n in events[3].__slots__}
        | {"jws": f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"}
    )
    with pytest.raises(NotTrusted, match="event"):
        gather([*events[:3], forged, *events[4:]], server.keys)


# -- signed ----------------------------------------------------------------------------------------------------------


def certificate(folder: Path, key: rsa.RSAPrivateKey, name: str) -> tuple[Path, Path]:
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    start = datetime.now(UTC)
    made_of = x509.CertificateBuilder().subject_name(who).issuer_name(who).public_key(key.public_key())
    signed = (
        made_of.serial_number(1).not_valid_before(start).not_valid_after(start + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem, crt = folder / f"{name}.key", folder / f"{name}.crt"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )  # fmt: skip
    crt.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    return pem, crt


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def test_another_library_checks_the_signature(tmp_path: Path, key: rsa.RSAPrivateKey) -> None:
    pem, crt = certificate(tmp_path, key, "exporter")
    value = made("opt-out-silence")
    signed = VconSigner(pem, crt).sign(value)
    (signature,) = signed["signatures"]
    (in_file,) = signature["header"]["x5c"]
    found = x509.load_der_x509_certificate(base64.b64decode(in_file))
    public = found.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    checked = jws.deserialize_json(
        signed, RSAKey.import_key(public), registry=jws.JWSRegistry(strict_check_header=False)
    )
    assert json.loads(checked.payload) == value
    assert signature["header"]["uuid"] == value["uuid"]
    protected = json.loads(base64.urlsafe_b64decode(signature["protected"] + "=="))
    assert protected["alg"] == "RS256"
    assert not protected.keys() & signature["header"].keys()  # RFC 7515 section 7.2.1


def test_a_key_needs_its_own_certificate(tmp_path: Path, key: rsa.RSAPrivateKey) -> None:
    pem, _ = certificate(tmp_path, key, "one")
    _, other = certificate(tmp_path, rsa.generate_private_key(65537, 2048), "two")
    with pytest.raises(ExportError, match="not that of"):
        VconSigner(pem, other)
    with pytest.raises(ExportError, match="cannot be used as a key"):
        VconSigner(other, other)


def test_an_unknown_call_is_an_error(tmp_path: Path) -> None:
    server: Played = played("opt-out-silence")
    result = server.ivr("export", "ffffffff", "--format", "vcon")
    assert result.exit_code == 2
    assert "no call's id begins or ends with" in result.stderr
