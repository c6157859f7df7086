# SPDX-License-Identifier: GPL-3.0-or-later
"""Every event type with its fields. The ledger refuses what is not declared here; the reference page is made from it.

A type is past tense and written only once it is true. `data` is public evidence and holds nothing personal;
`personal` fields become salted disclosures (RFC 9901) that erasure can remove. Events of a call carry `at_ms`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class EventType:
    """One type: what it means and which fields it has. A field ending in `?` may be left out."""

    name: str
    summary: str
    data: Mapping[str, str] = field(default_factory=dict)
    personal: Mapping[str, str] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    of_call: bool = True


AT_MS = "ms since the call was received, on the worker's monotonic clock"

_PARTY = {"party": "caller, agent-1, agent-2, …"}
_RECORDING = {"recording": "UUIDv7 of the recording"}
_REASON = {"reason": "why, one word"}
_PROMPT = {
    "text_sha256": "SHA-256 of the text as spoken, hex",
    "audio_sha256": "SHA-256 of the audio file, hex",
    "language": "BCP 47 tag",
    "samples": "length of the audio in samples",
    "rate": "samples a second",
}
_SENT = {
    "samples_sent": "samples handed to the network on the active leg",
    "packets_sent": "RTP packets sent while it played",
    "packets_lost": "loss that the far end reported by RTCP, packets, or null",
    "key_paths": "how a key could have been heard on this leg: rfc4733, info, inband",
}
_KEYED = {
    "source": "dtmf, info, inband, sip:recordpref, operator, silence, notice, policy",
    "key?": "the key",
}


def _type(
    name: str,
    summary: str,
    data: Mapping[str, str] | None = None,
    personal: Mapping[str, str] | None = None,
    of_call: bool = True,
) -> EventType:
    declared = ({"at_ms": AT_MS} if of_call else {}) | dict(data or {})
    return EventType(
        name,
        summary,
        MappingProxyType({key.rstrip("?"): text for key, text in declared.items()}),
        MappingProxyType(dict(personal or {})),
        frozenset(key for key in declared if not key.endswith("?")),
        of_call,
    )


_ALL = [
    # -- the call --
    _type(
        "call.received",
        "an INVITE was taken and a session started",
        {
            "flow": "name of the flow",
            "worker": "worker that took it",
            "flow_sha256": "hash of the flow as loaded",
            "edge?": "the id that the edge gave the call, when one stands before the worker; random, not the Call-ID",
        },
        {
            "caller": "number or SIP URI of the caller",
            "dialled": "number dialled",
            "sip_call_id": "SIP Call-ID",
        },
    ),
    _type("call.answered", "200 sent, media up", {"key_paths": _SENT["key_paths"], "codec": "codec of the leg"}),
    _type(
        "call.ended",
        "the session is over; the last event of the call",
        {
            "outcome": "completed, abandoned, rejected or failed",
            **_REASON,
            "status?": "final SIP status sent or received",
        },
    ),
    _type("call.lost", "the worker vanished with the call; written by the ledger", {**_REASON}),
    _type("leg.held", "the far end put this leg on hold", _PARTY),
    _type("leg.resumed", "the far end took this leg off hold", _PARTY),
    _type("leg.renegotiated", "the far end changed the media of this leg", {**_PARTY, "key_paths": _SENT["key_paths"]}),
    _type("party.joined", "a party's leg is up", _PARTY, {"address": "SIP URI of the party"}),
    _type("party.left", "a party's leg is gone", {**_PARTY, **_REASON}),
    # -- notice and consent --
    _type(
        "consent.asked",
        "the flow reached its consent step",
        {
            "policy": "the policy as enforced",
            "policy_sha256": "hash of policy and notice settings",
            "machine": "version of the consent machine",
            "settings?": "everything that the step enforces and the notice says; policy_sha256 is its hash",
        },
    ),
    _type(
        "reference.made",
        "a reference code was made for the caller; only its keyed hash is kept",
        {"digits": "how many digits it has"},
    ),
    _type(
        "reference.spoken",
        "the reference code was spoken",
        {"times": "how often it was begun", "whole": "whether it was sent to its last sample at least once"},
    ),
    _type("notice.started", "the first sample of the notice was handed to the leg", dict(_PROMPT)),
    _type(
        "notice.completed",
        "the last sample was sent on the active leg",
        {"samples_total": "samples of the notice", **_SENT},
    ),
    _type("notice.interrupted", "the notice stopped before its last sample", {**_REASON, **_SENT}),
    _type("notice.failed", "the notice could not be played", dict(_REASON)),
    _type(
        "consent.signalled",
        "a key, a SIP preference or an operator said something that matters to consent",
        {
            **_PARTY,
            "source": "dtmf, info, inband, sip:recordpref or operator",
            "value": "the key or the preference",
        },
    ),
    _type(
        "consent.timed_out",
        "a wait of the consent machine ended",
        {"timer": "notice, window, permit, start or stop"},
    ),
    _type(
        "ledger.unreachable",
        "the ledger could not be reached or refused a permit; written once it can be again",
        dict(_REASON),
    ),
    _type(
        "consent.decided",
        "a party's decision, as the machine takes it",
        {
            **_PARTY,
            "decision": "granted, refused, not_objected, not_given, informed or not_asked",
            "mode": "consent mode",
            "lawful_basis": "GDPR Art. 6(1)",
            **_KEYED,
        },
    ),
    _type("consent.withdrawn", "a party withdrew what it had given or not objected to", {**_PARTY, **_KEYED}),
    _type("consent.faulted", "what the server knew of the call contradicted itself: not recorded", dict(_REASON)),
    _type(
        "agent.informed",
        "the agent heard, to the last sample, whether the call is recorded",
        {**_PARTY, "recorded": "what the agent was told", **_PROMPT, "samples_sent": "samples sent"},
    ),
    _type("agent.not_informed", "the agent did not hear it to the end", {**_PARTY, **_REASON}),
    # -- recording --
    _type(
        "recording.permitted",
        "the permit: without it no recorder opens",
        {**_RECORDING, "parties": "parties that are cleared", "number": "n-th permit of the call", **_REASON},
    ),
    _type(
        "recording.armed",
        "the permit's acknowledgement reached the worker",
        {"number": "n-th permit of the call", "waited_us": "wait for it, microseconds"},
    ),
    _type("recording.blocked", "no permit, for a reason that is nobody's refusal", dict(_REASON)),
    _type(
        "recording.started",
        "file open and first samples seen",
        {
            **_RECORDING,
            "number": "n-th permit of the call",
            "rate": "samples a second",
            "recipient": "age public key of this recording",
        },
    ),
    _type("recording.paused", "no sample is kept from here on", {"number": "n-th permit of the call", **_REASON}),
    _type("recording.resumed", "samples are kept again", {"number": "n-th permit of the call"}),
    _type(
        "recording.sealed",
        "segments closed and on disk; a log entry holds 64 KiB, so long recordings say so as they go",
        {
            **_RECORDING,
            "number": "n-th permit of the call",
            "segments": "list of {n, start, samples, sha256, bytes}, each segment once in all events",
        },
    ),
    _type(
        "recording.stopped",
        "closed; what was kept",
        {
            **_RECORDING,
            "number": "n-th permit of the call",
            **_REASON,
            "rate": "samples a second; 0 when the worker was lost before it said so",
            "samples": "samples kept, a channel",
            "spans": "list of [first sample, samples, at_ms]: which samples were taken from when on",
            "segments": "list of {n, start, samples, sha256, bytes}",
            "erased": "true when what was recorded was erased at once",
        },
    ),
    _type(
        "recording.failed",
        "the recorder failed; what was kept follows in recording.stopped",
        {"number": "n-th permit of the call", **_REASON},
    ),
    _type(
        "recording.accessed",
        "somebody opened a recording",
        {**_RECORDING, "why": "reason given"},
        {"who": "who"},
        of_call=False,
    ),
    _type(
        "recording.exported",
        "somebody exported a recording",
        {**_RECORDING, "why": "reason given", "format": "format"},
        {"who": "who"},
        of_call=False,
    ),
    _type(
        "recording.erased",
        "the key of a recording is destroyed, and its files on the machine are gone",
        {
            **_RECORDING,
            **_REASON,
            "segments": "number of segment files removed from the machine",
            "archived?": "where there is an archive: segments it had, which nothing opens; their removal was ordered",
        },
    ),
    _type(
        "recording.not_erased",
        "the storage refused to erase a recording that was to be erased; it is tried again, by retention at the latest",
        {**_RECORDING, **_REASON, "error": "what the storage said, one word"},
    ),
    # -- bridge --
    _type("bridge.started", "the parties hear each other", {**_PARTY, "codec": "codec of the agent's leg"}),
    _type(
        "bridge.failed",
        "a target did not take the call",
        {"target": "place in the flow's list, from 1", "status": "final SIP status", **_REASON},
    ),
    _type(
        "bridge.ended",
        "the parties no longer hear each other",
        {**_PARTY, **_REASON, "duration_ms": "length"},
    ),
    # -- the node --
    _type("log.created", "the first event of a log", {"origin": "origin of the log"}, of_call=False),
    _type(
        "policy.adopted",
        "flows and settings went into force",
        {"flows": "name → hash of the flow", "settings_sha256": "hash of server.yaml"},
        {"by": "operating-system user"},
        of_call=False,
    ),
    _type(
        "key.added",
        "a signing key is in force from here on",
        {"kid": "key id", "vkey": "C2SP verifier key"},
        of_call=False,
    ),
    _type("key.retired", "a signing key is no longer used", {"kid": "key id"}, of_call=False),
    _type("node.started", "the ledger started", {"version": "version of the software"}, of_call=False),
    _type("worker.joined", "a worker connected", {"worker": "its name"}, of_call=False),
    _type(
        "worker.left",
        "a worker disconnected",
        {"worker": "its name", "calls_lost": "calls that were up"},
        of_call=False,
    ),
    _type("node.draining", "no new calls are taken", dict(_REASON), of_call=False),
    _type("node.stopped", "the ledger stopped in order", dict(_REASON), of_call=False),
    _type(
        "node.clock_stepped",
        "wall clock and monotonic clock parted by more than a second",
        {"step_us": "by how much, microseconds"},
        of_call=False,
    ),
    _type(
        "retention.applied",
        "a retention clock ran out and what it covered is gone",
        {
            "rule": "which clock: recording, personal or evidence",
            "recordings": "how many",
            "what?": "the recordings by id, or the events whose personal fields went",
            "fields?": "personal fields that went",
            "held?": "due, and kept for a legal hold",
        },
        of_call=False,
    ),
    # -- rights --
    _type(
        "hold.placed",
        "a legal hold: retention and erasure skip what it covers, from here on",
        {
            "hold": "UUIDv7 of the hold",
            "case?": "label of the case; no names",
            "calls?": "the calls it covers, by id",
            "why": "reason given",
        },
        {"number": "the number whose calls it covers, past and future", "who": "who"},
        of_call=False,
    ),
    _type(
        "hold.lifted",
        "a legal hold no longer counts",
        {"hold": "UUIDv7 of the hold", "why": "reason given"},
        {"who": "who"},
        of_call=False,
    ),
    _type(
        "reference.tried",
        "somebody looked a reference code up; tries that find nothing are limited",
        {"found": "whether a call has it", "refused?": "true when the limit was reached and nothing was looked up"},
        {"who": "who"},
        of_call=False,
    ),
    _type(
        "subject.request.opened",
        "a person's request was taken in; the one-month clock runs (GDPR Art. 12(3))",
        {
            "request": "UUIDv7 of the request",
            "kind": "access, erasure, objection or withdrawal",
            "received": "day it was received, YYYY-MM-DD",
            "due": "last day to answer, YYYY-MM-DD",
            "calls?": "the calls it is about, when it was made with a reference code",
        },
        {"subject": "the number it is about", "who": "who"},
        of_call=False,
    ),
    _type(
        "subject.request.packaged",
        "the data of a person was put together for them; the recordings in it are about to be opened",
        {
            "request": "UUIDv7 of the request",
            "calls": "how many",
            "recordings": "the recordings in it, by id",
            "format": "format of the audio",
            "why": "reason given",
        },
        {"who": "who"},
        of_call=False,
    ),
    _type(
        "subject.request.closed",
        "a person's request was answered",
        {
            "request": "UUIDv7 of the request",
            "outcome": "answered, erased, refused or withdrawn",
            "late": "whether that was after the last day",
            "why": "reason given",
        },
        {"who": "who"},
        of_call=False,
    ),
    _type(
        "subject.erased",
        "personal fields were erased with the secrets they were sealed under",
        {
            "scope": "subject, call or recording",
            "request?": "UUIDv7 of the request",
            "events": "the events whose personal fields went, by sequence number",
            "fields": "how many went",
            "secrets": "how many secrets were destroyed",
            "recordings": "recordings erased with them, by id",
            "held": "what a legal hold kept back: calls",
            "why": "reason given",
        },
        {"who": "who"},
        of_call=False,
    ),
]

TYPES: Mapping[str, EventType] = MappingProxyType({t.name: t for t in _ALL})
