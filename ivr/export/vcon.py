# SPDX-License-Identifier: GPL-3.0-or-later
"""A call as a vCon (draft-ietf-vcon-vcon-core): parties, recordings, keys, the lawful basis and the signed events.

A call that was bridged and not recorded has no dialog: the draft has no type for a conversation that took place and of
which nothing was kept. Its keys and decisions are in the attachments.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from ivr import __version__
from ivr.export import lawful_basis
from ivr.export.errors import ExportError
from ivr.export.facts import CALLER, Facts, Recorded, Step, rfc3339
from ivr.export.proof import Proof

_NUMBER = re.compile(r"\+?[0-9]{3,}")


class Version(StrEnum):
    """The drafts that can be written. `vcon` is deprecated in the newest one, and names it all the same."""

    V0_4_0 = "0.4.0"


@dataclass(frozen=True, slots=True)
class Audio:
    """A recording in clear, as a whole file."""

    mediatype: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Options:
    """`audio`: by recording id; what is not there is left out, and the vCon says so."""

    version: Version = Version.V0_4_0
    audio: Mapping[str, Audio] = field(default_factory=dict)


def build(facts: Facts, found: Sequence[Proof], options: Options | None = None) -> dict[str, Any]:
    """The unsigned vCon, ready for JSON. Raises ExportError for a call that is still up."""
    options = options or Options()
    if facts.first("call.ended") is None and facts.first("call.lost") is None:
        raise ExportError("the call is not over", facts.call, "export it when it is")
    index = {party: n for n, party in enumerate(facts.parties)}
    dialog = list(_dialogs(facts, index, options))
    now = datetime.now(UTC)
    vcon: dict[str, Any] = {
        "vcon": options.version.value,
        "uuid": uuid8(facts.origin, now),
        "created_at": rfc3339(now),
        "extensions": [lawful_basis.EXTENSION],
        "subject": f"call {facts.call}",
        "parties": [_party(facts, party) for party in facts.parties],
        "dialog": dialog,
        "attachments": [
            *lawful_basis.attachments(facts, found, index, 0),
            _events(facts, found),
        ],
    }
    left_out = _left_out(facts, options)
    return vcon | ({"redacted": {"type": left_out}} if left_out else {})


def uuid8(origin: str, now: datetime) -> str:
    """RFC 9562 version 8 in the draft's layout: ms of Unix time, 12 random bits, 62 bits of SHA-1 of the host name."""
    host = int.from_bytes(hashlib.sha1(origin.partition("/")[0].encode(), usedforsecurity=False).digest()[:8], "big")
    value = int(now.timestamp() * 1000) << 80 | 8 << 76 | secrets.randbits(12) << 64 | 2 << 62 | host >> 2
    text = f"{value:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _party(facts: Facts, party: str) -> dict[str, Any]:
    who: dict[str, Any] = {"type": "person"}
    if party == CALLER:
        received = facts.steps[0].personal
        who |= _address(str(received["caller"])) if "caller" in received else {"name": "anonymous"}
    else:
        joined = next((s for s in facts.of("party.joined") if s.data.get("party") == party), None)
        address = joined.personal.get("address") if joined else None
        who |= _address(str(address)) if address else {"name": party}
    # Nobody looked at a passport: the network's word is all there is.
    return who | ({"validation": "none"} if "name" in who else {})


def _address(value: str) -> dict[str, str]:
    if _NUMBER.fullmatch(value):
        return {"tel": f"tel:{value}"}
    return {"sip": value} if value.startswith(("sip:", "sips:")) else {"name": value}


def _dialogs(facts: Facts, index: Mapping[str, int], options: Options) -> Iterable[dict[str, Any]]:
    kept = [one for one in facts.recordings if _was_recorded(one)]
    for one in kept:
        yield _recording(facts, one, index, options)
    if not kept and facts.first("bridge.started") is None:
        yield {
            "type": "incomplete",
            "start": rfc3339(facts.received),
            "parties": list(index.values()),
            "disposition": _disposition(facts),
            "party_history": _history(facts, index),
        }


def _was_recorded(one: Recorded) -> bool:
    return bool(one.spans) or one.erased


def _recording(facts: Facts, one: Recorded, index: Mapping[str, int], options: Options) -> dict[str, Any]:
    permit = facts.of("recording.permitted")
    named = next((s.data.get("parties") for s in permit if s.data.get("recording") == one.id), None) or [CALLER]
    agents = [index[str(party)] for party in named if party != CALLER and str(party) in index]
    dialog: dict[str, Any] = {
        "type": "recording",
        "start": rfc3339(facts.time_at(one.spans[0][2] if one.spans else one.started_ms)),
        **({"duration": round(one.seconds, 3)} if one.spans else {}),
        # One entry a channel: left the caller, right whoever the caller was talking to.
        "parties": [index[CALLER], agents[0] if len(agents) == 1 else agents or None],
        "party_history": _history(facts, index),
        "filename": f"{one.id}.wav",
    }
    audio = options.audio.get(one.id)
    if audio is None:
        return dialog
    text = base64.urlsafe_b64encode(audio.content).decode().rstrip("=")
    return dialog | {"mediatype": audio.mediatype, "encoding": "base64url", "body": text}


def _left_out(facts: Facts, options: Options) -> str:
    """In the draft's words a vCon without its content is a redacted one, and says what was done."""
    missing = [one for one in facts.recordings if _was_recorded(one) and one.id not in options.audio]
    if not missing:
        return ""
    return "recordings erased" if all(one.erased for one in missing) else "audio left out"


_EVENTS = {"party.joined": "join", "party.left": "drop", "leg.held": "hold", "leg.resumed": "unhold"}


def _history(facts: Facts, index: Mapping[str, int]) -> list[dict[str, Any]]:
    """Who came, went and held, and the keys that mattered to consent.

    The server acts on the first packet of a key and logs that. When it came up is not in the log: there is no `keyup`.
    """
    history = [_moment(facts, facts.steps[0], index, CALLER, "join")]
    for step in facts.steps:
        party = str(step.data.get("party"))
        if party not in index:
            continue
        if step.type in _EVENTS:
            history.append(_moment(facts, step, index, party, _EVENTS[step.type]))
        elif step.type == "consent.signalled" and step.data.get("source") in ("dtmf", "info", "inband"):
            button = {"button": str(step.data.get("value"))}
            history.append(_moment(facts, step, index, party, "keydown") | button)
    return history


def _moment(facts: Facts, step: Step, index: Mapping[str, int], party: str, event: str) -> dict[str, Any]:
    return {"party": index[party], "time": rfc3339(facts.time_at(step.at_ms or 0)), "event": event}


def _disposition(facts: Facts) -> str:
    failed = facts.of("bridge.failed")
    if failed:
        status = failed[-1].data.get("status")
        return {486: "busy", 600: "busy", 480: "no-answer", 408: "no-answer"}.get(status, "no-answer")  # type: ignore[arg-type]
    left = [step for step in facts.of("party.left") if step.data.get("party") == CALLER]
    gone = left and left[0].data.get("reason") == "hangup"
    ended = facts.first("call.ended")
    return "hung-up" if gone or (ended and ended.data.get("outcome") == "abandoned") else "failed"


def _events(facts: Facts, found: Sequence[Proof]) -> dict[str, Any]:
    """Everything that the log has of the call, as it was signed: whoever has the log's key can check it."""
    receipts = {str(proof.step.seq): proof.receipt for proof in found if proof.receipt is not None}
    return {
        "purpose": "consent_log",
        "start": rfc3339(facts.received),
        "party": 0,
        "dialog": 0,
        "mediatype": "application/json",
        "encoding": "json",
        "body": {
            "tlog_origin": facts.origin,
            "software": f"assent-ivr {__version__}",
            "call": facts.call,
            "events": [step.jws for step in facts.steps],
            "tlog_proofs": receipts,
        },
    }
