# SPDX-License-Identifier: GPL-3.0-or-later
"""What draft-ietf-vcon-vcon-core (0.4.0) demands of an unsigned vCon, as far as an export can break it.

Written from the draft's text and its JSON Schema (names, types, enumerations, what is required); stricter in one thing:
a name that the draft does not have is refused, so that a misspelt one is found.
"""

from typing import Any

from jsonschema import Draft7Validator

_DATE = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"
_UUID8 = r"^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"

_TEXT = {"type": "string"}
_TIME = {"type": "string", "pattern": _DATE}
_INDEX = {"type": "integer", "minimum": 0}
_CHANNEL = {"anyOf": [_INDEX, {"type": "array", "items": _INDEX}, {"type": "null"}]}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


_CONTENT = {
    "mediatype": _TEXT,
    "filename": _TEXT,
    "body": {},
    "encoding": {"enum": ["base64url", "json", "none"]},
    "url": {"type": "string", "pattern": "^https://"},
    "content_hash": {"type": "string", "pattern": "^sha512-"},
}
_MOMENT = _object(
    ["party", "time", "event"],
    party=_INDEX,
    time=_TIME,
    event={"enum": ["join", "drop", "hold", "unhold", "mute", "unmute", "keydown", "keyup"]},
    button=_TEXT,
)
_KEY = {"if": {"properties": {"event": {"enum": ["keydown", "keyup"]}}}, "then": {"required": ["button"]}}
_DIALOG = _object(
    ["type", "start"],
    type={"enum": ["recording", "text", "transfer", "incomplete", "recording-set"]},
    start=_TIME,
    duration={"type": "number", "minimum": 0},
    parties={"anyOf": [_INDEX, {"type": "array", "items": _CHANNEL}]},
    originator=_INDEX,
    disposition={"enum": ["no-answer", "congestion", "failed", "busy", "hung-up", "voicemail-no-message"]},
    party_history={"type": "array", "items": _MOMENT | _KEY},
    **_CONTENT,
)
_INCOMPLETE = {
    "if": {"properties": {"type": {"const": "incomplete"}}},
    "then": {"required": ["disposition"], "not": {"anyOf": [{"required": ["body"]}, {"required": ["url"]}]}},
    "else": {"not": {"required": ["disposition"]}},
}
_INLINE = {"dependencies": {"body": ["encoding", "mediatype"], "url": ["content_hash"]}}

SCHEMA: dict[str, Any] = _object(
    ["uuid", "created_at", "parties"],
    vcon={"const": "0.4.0"},
    uuid={"type": "string", "pattern": _UUID8},
    created_at=_TIME,
    updated_at=_TIME,
    subject=_TEXT,
    extensions={"type": "array", "items": _TEXT},
    critical={"type": "array", "items": _TEXT},
    redacted=_object(["type"], type=_TEXT, uuid=_TEXT, url=_TEXT, content_hash=_TEXT),
    amended=_object([], uuid=_TEXT, url=_TEXT, content_hash=_TEXT),
    parties={
        "type": "array",
        "items": _object([], tel=_TEXT, sip=_TEXT, name=_TEXT, validation=_TEXT, uuid=_TEXT, type=_TEXT),
    },
    dialog={"type": "array", "items": {"allOf": [_DIALOG, _INCOMPLETE, _INLINE]}},
    attachments={
        "type": "array",
        "items": _object(["start", "party", "dialog"], purpose=_TEXT, start=_TIME, party=_INDEX, dialog=_INDEX)
        | {"additionalProperties": True},
    },
)


def mistakes(vcon: dict[str, Any]) -> list[str]:
    """Everything that is not as the draft wants it; also indices that lead nowhere."""
    found = [f"{error.json_path}: {error.message}" for error in Draft7Validator(SCHEMA).iter_errors(vcon)]
    parties = len(vcon.get("parties", []))
    for n, dialog in enumerate(vcon.get("dialog", [])):
        channels = dialog.get("parties", [])
        flat = [i for c in channels for i in (c if isinstance(c, list) else [c]) if i is not None]
        flat += [moment["party"] for moment in dialog.get("party_history", [])]
        found += [f"dialog {n}: there is no party {i}" for i in flat if i >= parties]
    for n, attachment in enumerate(vcon.get("attachments", [])):
        if attachment["party"] >= parties or (vcon.get("dialog") and attachment["dialog"] >= len(vcon["dialog"])):
            found.append(f"attachment {n} belongs to nobody, or to no dialog")
    return found
