# SPDX-License-Identifier: GPL-3.0-or-later
"""The `lawful_basis` attachment of a vCon (draft-howe-vcon-lawful-basis-02): one for each decision about recording.

The basis is what the policy says, never more: silence in an opt-out flow rests on that basis and is not consent.
A withdrawal has no field of its own in the draft; it is a further attachment with `granted: false`.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from ivr.consent.policy import Mode
from ivr.export.facts import Asked, Facts, Step, rfc3339
from ivr.export.proof import Proof, proof_of
from ivr.ledger import canonical

EXTENSION = "lawful_basis"
_GRANTED = frozenset({"granted", "not_objected", "informed"})


def attachments(facts: Facts, found: Sequence[Proof], party_index: dict[str, int], dialog: int) -> list[dict[str, Any]]:
    """The attachments, in the order of the events. Empty for a call that came to no consent step."""
    asked = facts.asked
    if asked is None:
        return []
    return [
        {
            "purpose": EXTENSION,
            "start": rfc3339(facts.time_at(step.at_ms or 0)),
            "party": party_index.get(str(step.data.get("party", "caller")), 0),
            "dialog": dialog,
            "mediatype": "application/json",
            "encoding": "json",
            "body": body(facts, asked, step, granted, found),
        }
        for step, granted in _decisions(facts)
    ]


def body(facts: Facts, asked: Asked, step: Step, granted: bool, found: Sequence[Proof]) -> dict[str, Any]:
    """One body. `content_hash` is over the body without it: the draft leaves open what else it could be over."""
    when = rfc3339(facts.time_at(step.at_ms or 0))
    value: dict[str, Any] = {
        "lawful_basis": asked.policy.lawful_basis.value,
        "expiration": _expiration(facts, asked) if granted else None,
        "purpose_grants": [
            {"purpose": "recording", "granted": granted, "granted_at": when, "conditions": _conditions(facts, asked)}
        ],
        "proof_mechanisms": [
            {"proof_type": "external_system", "timestamp": when, "proof_data": _proof(facts, step, found)}
        ],
        "metadata": {
            "mode": asked.policy.mode.value,
            "decision": _said(step),
            "policy": asked.policy_sha256,
            "notice": [
                {"text_sha256": n.text_sha256, "audio_sha256": n.audio_sha256, "language": n.language, "whole": n.whole}
                for n in facts.notices
            ],
        },
    }
    return value | {"content_hash": content_hash(value)}


def content_hash(value: dict[str, Any]) -> dict[str, str]:
    """SHA-256 over the RFC 8785 form of a body that has no `content_hash`."""
    bare = {name: item for name, item in value.items() if name != "content_hash"}
    digest = hashlib.sha256(canonical.dumps(bare)).hexdigest()
    return {"algorithm": "sha-256", "canonicalization": "jcs", "value": digest}


def _decisions(facts: Facts) -> Iterable[tuple[Step, bool]]:
    decided = False
    for step in facts.of("consent.decided", "consent.withdrawn", "recording.blocked"):
        if step.type == "consent.decided":
            decided = True
            yield step, step.data.get("decision") in _GRANTED and _may_ever(facts)
        elif step.type == "consent.withdrawn":
            decided = True
            yield step, False
        elif not decided:
            # The notice was not whole, or the like: nobody decided, so nothing was granted.
            decided = True
            yield step, False
    if not decided:
        # Hung up before anybody could decide.
        yield from ((step, False) for step in facts.of("call.ended", "call.lost"))


def _may_ever(facts: Facts) -> bool:
    return facts.asked is not None and facts.asked.policy.mode is not Mode.NEVER


def _said(step: Step) -> str:
    if step.type == "recording.blocked":
        return f"blocked: {step.data.get('reason')}"
    if step.type in ("call.ended", "call.lost"):
        return "no decision"
    return "withdrawn" if step.type == "consent.withdrawn" else str(step.data.get("decision"))


def _expiration(facts: Facts, asked: Asked) -> str | None:
    """The end of the retention that the notice promised; null when the settings are not at hand."""
    days = (asked.settings or {}).get("retention_days")
    return rfc3339(facts.received + timedelta(days=days)) if type(days) is int else None


def _conditions(facts: Facts, asked: Asked) -> list[str]:
    """What the grant was for and under, as the notice said it."""
    language = facts.language
    said = [f"for: {word}" for word in asked.words("purposes", language)]
    said += [f"kept for: {word}" for word in asked.words("retention", language)]
    said += [f"kept in: {word}" for word in asked.words("storage_place", language)]
    return said + [f"heard by: {word}" for word in asked.words("access", language)]


def _proof(facts: Facts, step: Step, found: Sequence[Proof]) -> dict[str, Any]:
    data: dict[str, Any] = {"method": str(step.data.get("source") or step.data.get("reason") or "policy")}
    if step.data.get("key"):
        data["digit"] = str(step.data["key"])
    data |= {"tlog_origin": facts.origin, "leaf_index": step.seq, "event": step.jws}
    proof = proof_of(found, step.seq)
    if proof is not None and proof.receipt is not None:
        data["tlog_proof"] = proof.receipt
    return data
