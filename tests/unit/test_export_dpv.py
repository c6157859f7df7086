# SPDX-License-Identifier: GPL-3.0-or-later
"""The consent record in DPV JSON-LD: every mandatory field of ISO/IEC TS 27560, states and types, and real JSON-LD."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyld import jsonld

from export_kit import facts_of, proofs_of
from ivr.export import dpv
from ivr.export.errors import ExportError
from ivr.export.facts import Known, gather, settings_hash
from ivr.ledger.keyring import KeyRing
from ivr.ledger.log import Entry
from ivr.ledger.query import LogReader
from ledger_kit import CALL, make_home
from replay_kit import changed, recorded

DPV = "https://w3id.org/dpv#"
DCT = "http://purl.org/dc/terms/"


def made(case: str, **controller: str) -> dict[str, Any]:
    return dpv.build(facts_of(case), proofs_of(case), dpv.Controller(**controller))


def states(case: str) -> list[tuple[str, str]]:
    (record,) = made(case)["@graph"]
    return [(event["@type"], event["dct:type"]["@id"]) for event in record["dpv:hasConsentStatus"]["@list"]]


def expanded(value: dict[str, Any]) -> list[dict[str, Any]]:
    """By another library; whatever it wants to load from the net is refused."""

    def nobody(url: str, _options: object) -> Any:
        raise AssertionError(f"it asks for {url}")

    found: list[dict[str, Any]] = jsonld.expand(value, {"documentLoader": nobody})
    return found


REQUESTED = ("dpv:ConsentRequested", "dpv:Consent")


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("opt-out-silence", [REQUESTED, ("dpv:ConsentGiven", "dpv:ImpliedConsent")]),
        ("opt-in-accept-in-window", [REQUESTED, ("dpv:ConsentGiven", "dpv:ExplicitlyExpressedConsent")]),
        ("opt-in-silence", [REQUESTED, ("dpv:ConsentRequestDeferred", "dpv:Consent")]),
        ("window-refuse", [REQUESTED, ("dpv:ConsentRefused", "dpv:ExplicitlyExpressedConsent")]),
        ("opt-out-refuse-in-notice", [("dpv:ConsentRefused", "dpv:ExplicitlyExpressedConsent")]),
        (
            "withdraw-caller-keep",
            [
                REQUESTED,
                ("dpv:ConsentGiven", "dpv:ImpliedConsent"),
                ("dpv:ConsentWithdrawn", "dpv:ExplicitlyExpressedConsent"),
            ],
        ),
        ("required-silence", [("dpv:ConsentUnknown", "dpv:Consent")]),
        ("hangup-in-notice", []),
    ],
)
def test_states_and_types(case: str, expected: list[tuple[str, str]]) -> None:
    assert states(case) == expected


def test_silence_is_implied_and_the_legal_basis_is_not_consent() -> None:
    text = json.dumps(made("opt-out-silence"))
    assert "ExplicitlyExpressedConsent" not in text
    assert "eu-gdpr:A6-1-a" not in text
    assert "eu-gdpr:A6-1-f" in text
    (record,) = made("opt-in-accept-in-window")["@graph"]
    assert record["dpv:hasProcess"]["dpv:hasLegalBasis"] == {"@id": "eu-gdpr:A6-1-a"}


def test_every_mandatory_field_is_there_after_expansion() -> None:
    """ISO/IEC TS 27560 by way of the table of the DPVCG's guide: section, field, DPV's term."""
    value = made("opt-in-accept-in-window", address="Musterweg 1, Berlin", contact="privacy@example.org")
    (record,) = expanded(value)
    (process,) = record[f"{DPV}hasProcess"]
    (subject,) = record[f"{DPV}hasDataSubject"]
    (controller,) = record[f"{DPV}hasDataController"]
    (notice,) = process[f"{DPV}hasNotice"]
    header = [f"{DCT}conformsTo", f"{DCT}identifier", f"{DPV}hasDataSubject", f"{DPV}hasJurisdiction"]
    header += [f"{DPV}hasConsentStatus", f"{DPV}hasProcess"]
    processing = ["hasPurpose", "hasPersonalData", "hasDataController", "hasStorageCondition", "hasJurisdiction"]
    processing += ["hasRecipient", "hasConsentControl", "hasNotice", "hasLegalBasis"]
    assert [name for name in header if not record.get(name)] == []
    assert [name for name in processing if not process.get(DPV + name)] == []
    assert subject[f"{DCT}identifier"]
    assert [name for name in ("hasName", "hasAddress", "hasContact") if not controller.get(DPV + name)] == []
    assert notice[f"{DCT}language"] == [{"@value": "en"}]
    kinds = {kind for condition in process[f"{DPV}hasStorageCondition"] for kind in condition["@type"]}
    assert kinds == {f"{DPV}StorageLocation", f"{DPV}StorageDuration"}
    for event in record[f"{DPV}hasConsentStatus"][0]["@list"]:
        for name in ("isIndicatedAtTime", "isIndicatedBy", "hasIndicationMethod", "hasDuration"):
            assert event.get(DPV + name), name
        assert event["@type"][0].startswith(f"{DPV}Consent")
        assert event[f"{DCT}type"]


@pytest.mark.parametrize("case", ["opt-out-silence", "withdraw-agent-keep", "required-silence", "never"])
def test_nothing_gets_lost_and_nothing_is_loaded(case: str) -> None:
    """JSON-LD drops what no context explains: all that is written is there after expansion and back."""
    value = made(case)
    back = jsonld.compact(expanded(value), dpv.CONTEXT, {"graph": True})
    assert jsonld.normalize(back, {"algorithm": "URDNA2015", "format": "application/n-quads"}) == jsonld.normalize(
        value, {"algorithm": "URDNA2015", "format": "application/n-quads"}
    )
    assert _keys(value) - {"@context", "@graph", "@list"} <= _keys(back)


def _keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {key for item in value.values() for key in _keys(item)}
    return {key for item in value for key in _keys(item)} if isinstance(value, list) else set()


def test_an_agent_who_withdraws_has_a_record_of_their_own() -> None:
    caller, agent = made("withdraw-agent-keep")["@graph"]
    assert caller["@id"] != agent["@id"]
    assert [e["@type"] for e in agent["dpv:hasConsentStatus"]["@list"]] == ["dpv:ConsentWithdrawn"]
    assert "dpv:ConsentWithdrawn" not in [e["@type"] for e in caller["dpv:hasConsentStatus"]["@list"]]


def test_the_key_and_the_notice_are_named() -> None:
    (record,) = made("withdraw-caller-keep")["@graph"]
    method = record["dpv:hasConsentStatus"]["@list"][-1]["dpv:hasIndicationMethod"]
    digest = facts_of("withdraw-caller-keep").notices[0].text_sha256
    assert method == f"pressed key 9 (dtmf) after notice sha256:{digest}"


def test_settings_that_are_not_at_hand_are_not_made_up() -> None:
    facts = facts_of("opt-out-silence")
    assert facts.asked is not None
    with pytest.raises(ExportError, match="not at hand"):
        dpv.build(replace(facts, asked=replace(facts.asked, settings=None)), ())


def test_settings_are_believed_only_when_their_hash_fits(tmp_path: Path) -> None:
    settings = {"v": 1, "retention_days": 90}
    digest = str(settings_hash(settings))
    home = make_home(tmp_path)
    events = changed(recorded(call=CALL).events, "consent.asked", policy_sha256=digest)
    home.append([Entry(event.type, event.call, event.data) for event in events])
    with LogReader(home.db) as log:
        shown = list(log.events(CALL))
    for known, believed in (({digest: settings}, settings), ({digest: {**settings, "retention_days": 9999}}, None)):
        facts = gather(shown, KeyRing((home.vkey,)), Known({}, known))
        assert facts.asked is not None
        assert facts.asked.settings == believed


def test_no_consent_step_no_record() -> None:
    with pytest.raises(ExportError, match="no consent step"):
        dpv.build(facts_of("no-consent-step"), ())
