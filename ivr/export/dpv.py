# SPDX-License-Identifier: GPL-3.0-or-later
"""The consent of a call as an ISO/IEC TS 27560 record in DPV JSON-LD (dpv-27560): header, process, parties, events.

Every fact is from the log, or from settings and texts whose hash is in the log. Silence in an opt-out flow is an
implied consent, never an explicit one, and the legal basis stays the one that the policy names.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ivr.consent.policy import LawfulBasis, Mode
from ivr.export.errors import ExportError
from ivr.export.facts import CALLER, Asked, Facts, Step, rfc3339
from ivr.export.proof import Proof, proof_of

CONTEXT = {
    "dpv": "https://w3id.org/dpv#",
    "pd": "https://w3id.org/dpv/pd#",
    "loc": "https://w3id.org/dpv/loc#",
    "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
    "dct": "http://purl.org/dc/terms/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}
PROFILE = "https://w3id.org/dpv/schema/dpv-27560#record-eu-gdpr"
UNKNOWN = "not stated"

_ARTICLE = {
    LawfulBasis.CONSENT: "eu-gdpr:A6-1-a",
    LawfulBasis.CONTRACT: "eu-gdpr:A6-1-b",
    LawfulBasis.LEGAL_OBLIGATION: "eu-gdpr:A6-1-c",
    LawfulBasis.VITAL_INTERESTS: "eu-gdpr:A6-1-d",
    LawfulBasis.PUBLIC_TASK: "eu-gdpr:A6-1-e",
    LawfulBasis.LEGITIMATE_INTERESTS: "eu-gdpr:A6-1-f",
}

# Only where DPV has a purpose of the same meaning; the name that the notice uses is always there too.
_PURPOSES = {
    "compliance": "dpv:LegalCompliance",
    "dispute": "dpv:DisputeManagement",
    "contract": "dpv:FulfilmentOfContractualObligation",
    "security": "dpv:EnforceSecurity",
    "orders": "dpv:CustomerOrderManagement",
    "service": "dpv:ImproveExistingProductsAndServices",
}


@dataclass(frozen=True, slots=True)
class Controller:
    """What 27560 wants to know of the controller and no flow says. Its name is in the flow."""

    address: str = UNKNOWN
    contact: str = UNKNOWN
    jurisdiction: str = "loc:EU"


def build(facts: Facts, found: Sequence[Proof], controller: Controller | None = None) -> dict[str, Any]:
    """The document: one record for the caller, and one for each agent who decided something.

    Raises ExportError for a call without a consent step, or whose settings are not at hand.
    """
    asked = facts.asked
    if asked is None:
        raise ExportError("this call came to no consent step: there is no consent to record", facts.call)
    if asked.settings is None and asked.policy.mode is not Mode.NEVER:
        raise ExportError(
            f"the settings {asked.policy_sha256} that were in force are not at hand",
            facts.call,
            "give the folder of the server whose flow it was (--config), with the flow as it was then",
        )
    others = [party for party in facts.parties if party != CALLER and _decisions(facts, party)]
    who = controller or Controller()
    records = [_record(facts, asked, party, found, who) for party in (CALLER, *others)]
    return {"@context": CONTEXT, "@graph": records}


def _record(facts: Facts, asked: Asked, party: str, found: Sequence[Proof], who: Controller) -> dict[str, Any]:
    step = next(step for step in facts.steps if step.seq == asked.seq)
    identifier = step.id if party == CALLER else f"{step.id}/{party}"
    return {
        "@id": f"urn:uuid:{step.id}" + ("" if party == CALLER else f"#{party}"),
        "@type": "dpv:ConsentRecord",
        "dct:conformsTo": _ref(PROFILE),
        "dct:identifier": identifier,
        "dct:created": _time(facts, step),
        "dpv:hasDataSubject": _subject(facts, party),
        "dpv:hasDataController": _controller(facts, asked, who),
        "dpv:hasJurisdiction": _ref(who.jurisdiction),
        "dpv:hasProcess": _process(facts, asked, who),
        "dpv:hasConsentStatus": {"@list": list(_events(facts, asked, party, found))},
    }


def _subject(facts: Facts, party: str) -> dict[str, Any]:
    subject: dict[str, Any] = {
        "@id": _subject_id(facts, party),
        "@type": "dpv:DataSubject",
        "dct:identifier": f"{facts.call}/{party}",
    }
    step = facts.steps[0] if party == CALLER else None
    step = step or next((s for s in facts.of("party.joined") if s.data.get("party") == party), None)
    contact = (step.personal.get("caller") or step.personal.get("address")) if step else None
    return subject | ({"dpv:hasContact": str(contact)} if contact else {})


def _subject_id(facts: Facts, party: str) -> str:
    return f"urn:uuid:{facts.call}#{party}"


def _controller(facts: Facts, asked: Asked, who: Controller) -> dict[str, Any]:
    name = asked.words("controller", facts.language)
    return {
        "@id": f"urn:uuid:{facts.call}#controller",
        "@type": "dpv:DataController",
        "dct:identifier": facts.origin,
        "dpv:hasName": name[0] if name else UNKNOWN,
        "dpv:hasAddress": who.address,
        "dpv:hasContact": who.contact,
    }


def _process(facts: Facts, asked: Asked, who: Controller) -> dict[str, Any]:
    language = facts.language
    places, days = asked.words("storage_place", language), (asked.settings or {}).get("retention_days")
    return {
        "@type": "dpv:Process",
        "dct:title": "recording of a telephone call",
        "dpv:hasPurpose": [_purpose(name, asked, n) for n, name in enumerate(asked.words("purposes", language))],
        "dpv:hasProcessing": [_ref("dpv:Record"), _ref("dpv:Store")],
        "dpv:hasPersonalData": {"@type": ["dpv:PersonalData", "pd:VoiceCommunicationRecording"]},
        "dpv:hasDataSource": _ref("dpv:DataSubject"),
        "dpv:hasLegalBasis": _ref(_ARTICLE[asked.policy.lawful_basis]),
        "dpv:hasDataController": _ref(f"urn:uuid:{facts.call}#controller"),
        "dpv:hasJurisdiction": _ref(who.jurisdiction),
        "dpv:hasRecipient": [{"@type": "dpv:Recipient", "dct:title": word} for word in asked.words("access", language)],
        "dpv:hasStorageCondition": [
            {"@type": "dpv:StorageLocation", "dpv:hasLocation": places[0] if places else UNKNOWN},
            {"@type": "dpv:StorageDuration", "dpv:hasDuration": _days(days if type(days) is int else 0)},
        ],
        "dpv:hasNotice": [_notice(notice, asked) for notice in facts.notices],
        "dpv:hasConsentControl": _control(asked),
    }


def _purpose(name: str, asked: Asked, number: int) -> dict[str, Any]:
    given = (asked.settings or {}).get("purposes") or []
    known = _PURPOSES.get(given[number]) if number < len(given) and isinstance(given[number], str) else None
    return {"@type": ["dpv:Purpose", known] if known else "dpv:Purpose", "dct:title": name}


def _notice(notice: Any, asked: Asked) -> dict[str, Any]:
    consent = asked.policy.lawful_basis is LawfulBasis.CONSENT
    said = {"dct:description": {"@value": notice.text, "@language": notice.language}} if notice.text else {}
    return {
        "@type": ["dpv:ConsentNotice" if consent else "dpv:PrivacyNotice", "dpv:OralNotice"],
        "dct:identifier": f"sha256:{notice.text_sha256}",
        "dct:language": notice.language,
        **said,
    }


def _control(asked: Asked) -> dict[str, Any]:
    consent = asked.policy.lawful_basis is LawfulBasis.CONSENT
    key = asked.policy.withdraw_key
    how = f"press {key} at any time during the call" if key else "no key withdraws; ask the controller"
    return {
        "@type": "dpv:WithdrawConsent" if consent else "dpv:OptingOutFromProcess",
        "dct:description": {"@value": how, "@language": "en"},
    }


# -- events ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _State:
    """DPV's consent status and consent type for one decision, and what it means in plain words."""

    status: str
    consent: str
    meaning: str


_STATES = {
    "granted": _State("dpv:ConsentGiven", "dpv:ExplicitlyExpressedConsent", "pressed the key that agrees"),
    "not_objected": _State("dpv:ConsentGiven", "dpv:ImpliedConsent", "did not press the key that refuses"),
    "refused": _State("dpv:ConsentRefused", "dpv:ExplicitlyExpressedConsent", "refused"),
    "not_given": _State("dpv:ConsentRequestDeferred", "dpv:Consent", "did not answer, so nothing was recorded"),
    "informed": _State("dpv:ConsentUnknown", "dpv:Consent", "was informed; consent was not asked for"),
    "not_asked": _State("dpv:ConsentUnknown", "dpv:Consent", "was not asked"),
}
_WITHDRAWN = _State("dpv:ConsentWithdrawn", "dpv:ExplicitlyExpressedConsent", "withdrew")


def _decisions(facts: Facts, party: str) -> list[Step]:
    return [s for s in facts.of("consent.decided", "consent.withdrawn") if s.data.get("party") == party]


def _events(facts: Facts, asked: Asked, party: str, found: Sequence[Proof]) -> Iterable[dict[str, Any]]:
    done = facts.first("notice.completed")
    if party == CALLER and done is not None and asked.policy.mode in (Mode.OPT_IN, Mode.OPT_OUT):
        requested = _State("dpv:ConsentRequested", "dpv:Consent", "the notice was sent to its last sample")
        yield _event(facts, asked, done, requested, party, found)
    for step in _decisions(facts, party):
        state = _WITHDRAWN if step.type == "consent.withdrawn" else _STATES.get(str(step.data.get("decision")))
        if state is None:
            raise ExportError(f"event {step.seq}: the decision {step.data.get('decision')!r} has no state in DPV")
        yield _event(facts, asked, step, state, party, found)


def _event(facts: Facts, asked: Asked, step: Step, state: _State, party: str, found: Sequence[Proof]) -> dict[str, Any]:
    days = (asked.settings or {}).get("retention_days")
    lasts = days if type(days) is int and state.status == "dpv:ConsentGiven" else 0
    event: dict[str, Any] = {
        "@id": f"urn:uuid:{step.id}",
        "@type": state.status,
        "dct:type": _ref(state.consent),
        "dpv:isIndicatedAtTime": _time(facts, step),
        "dpv:isIndicatedBy": _ref(_subject_id(facts, party)),
        "dpv:hasIndicationMethod": _method(step, facts),
        "dpv:hasDuration": _days(lasts),
        "dct:description": {"@value": state.meaning, "@language": "en"},
        "dct:source": f"{facts.origin}, event {step.seq}",
    }
    if asked.policy.lawful_basis is LawfulBasis.CONSENT:
        event["dpv:hasLegalBasis"] = _ref(state.consent)
    proof = proof_of(found, step.seq)
    return event | ({"dct:provenance": proof.receipt} if proof is not None and proof.receipt else {})


def _method(step: Step, facts: Facts) -> str:
    notice = f"notice sha256:{facts.notices[0].text_sha256}" if facts.notices else "no notice"
    source, key = str(step.data.get("source") or "notice"), step.data.get("key")
    if key:
        return f"pressed key {key} ({source}) after {notice}"
    if step.type == "notice.completed":
        return f"{notice} was spoken on the line"
    return f"{source} after {notice}"


def _time(facts: Facts, step: Step) -> dict[str, str]:
    return {"@value": rfc3339(facts.time_at(step.at_ms or 0)), "@type": "xsd:dateTime"}


def _days(days: int) -> dict[str, str]:
    return {"@value": f"P{days}D", "@type": "xsd:duration"}


def _ref(iri: str) -> dict[str, str]:
    return {"@id": iri}
