# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of the report, by language. A language has all of them; what the log itself says is English so far."""

from collections.abc import Mapping

from ivr.export.errors import ExportError

LANGUAGES: Mapping[str, Mapping[str, str]] = {
    "en": {
        "title": "Report of a call",
        "RECORDED": "Recorded",
        "RECORDED AND ERASED": "Recorded, and erased since",
        "NOT RECORDED": "Not recorded",
        "call": "Call",
        "log": "Log",
        "received": "Received",
        "length": "Length",
        "flow": "Flow",
        "made": "Report made",
        "people": "People",
        "caller": "Caller",
        "dialled": "Number dialled",
        "agent": "Agent",
        "erased_field": "erased",
        "no_personal": "left out of this report; parties are called by their part in the call",
        "picture": "When it was recorded, and when it might be",
        "picture_alt": "The call from left to right. The table below says the same in words.",
        "picture_scroll": "Picture of the call; scroll sideways to see all of it",
        "scroll_hint": "→ scroll the picture sideways",
        "no_waveform": (
            "The sound itself is not drawn: this report was made without the identity that opens recordings."
        ),
        "no_recording": "There is no sound to draw: nothing of this call is kept.",
        "lane_notice": "Notice",
        "lane_talk": "Talk",
        "lane_consent": "Allowed?",
        "lane_recorded": "Recorded",
        "lane_caller": "Caller",
        "lane_agent": "Agent",
        "legend": "Legend",
        "kind_waiting": "not allowed yet",
        "kind_allowed": "allowed: everybody was cleared",
        "kind_blocked": "blocked: a condition was not met",
        "kind_refused": "refused",
        "kind_withdrawn": "withdrawn",
        "kind_kept": "recorded and kept",
        "kind_erased": "recorded, then erased",
        "kind_gap": "pause: nothing recorded",
        "kind_notice": "notice spoken",
        "kind_talk": "parties connected",
        "short_waiting": "not yet",
        "short_allowed": "allowed",
        "short_blocked": "blocked",
        "short_refused": "refused",
        "short_withdrawn": "withdrawn",
        "short_gap": "pause",
        "short_erased": "erased",
        "from": "From",
        "to": "To",
        "what": "What",
        "why": "Why",
        "marks": "Marks",
        "notice": "The notice, as it was spoken",
        "notice_whole": "sent to its last sample on the answered line",
        "notice_cut": "not sent to its end",
        "notice_no_text": "The words are not at hand. Whoever has a text can compare its SHA-256 with the one below.",
        "notice_none": "No notice was spoken in this call.",
        "notice_fits": "The SHA-256 of these words is the one in the log.",
        "language": "Language",
        "sent": "Sent",
        "text_sha256": "SHA-256 of the text",
        "audio_sha256": "SHA-256 of the audio",
        "decision": "The decision, and why",
        "no_consent": "The call came to no consent step; nothing could be recorded.",
        "policy": "What was in force",
        "mode": "Mode",
        "mode_opt_out": "recorded unless the caller objects",
        "mode_opt_in": "recorded only if the caller agrees",
        "mode_required": "must be recorded",
        "mode_never": "never recorded",
        "basis": "Lawful basis (GDPR Art. 6(1))",
        "not_consent": "Silence is no consent; recording rests on this basis alone.",
        "keys": "Keys",
        "key_refuse": "refuse",
        "key_accept": "agree",
        "key_withdraw": "withdraw",
        "on_withdraw": "On withdrawal, what was recorded is",
        "on_withdraw_keep": "kept",
        "on_withdraw_erase": "erased",
        "purposes": "Purposes",
        "retention": "Kept for",
        "place": "Kept in",
        "access": "May listen",
        "controller": "Responsible",
        "policy_sha256": "Hash of these settings",
        "no_settings": "purposes, retention, place and access of that day are not at hand",
        "decided": "What was decided",
        "replay": "Checked by replay",
        "replay_holds": "holds",
        "replay_differs": "does not hold",
        "replay_holds_text": (
            "The {inputs} logged inputs of this call, run once more through version {machine} of the consent machine, "
            "give exactly the {decisions} decisions in the log, and no sample was kept outside the time it allowed."
        ),
        "replay_differs_text": (
            "The logged decisions are not the ones that the consent machine takes. Do not rely on this record."
        ),
        "timeline": "Timeline",
        "time": "Time (UTC)",
        "offset": "Into the call",
        "event": "Event",
        "number": "No.",
        "recordings": "Recordings",
        "recordings_none": "None.",
        "recording": "Recording",
        "state": "State",
        "state_kept": "kept, sealed",
        "state_erased": "erased; nobody can open it",
        "state_running": "running, or its end was not logged",
        "stopped": "Stopped",
        "rate": "Rate",
        "spans": "Stretches",
        "segments": "Sealed segments",
        "segment": "Segment",
        "samples": "Samples",
        "bytes": "Bytes",
        "sha256": "SHA-256 of the sealed file",
        "receipts": "Receipts",
        "receipts_text": (
            "A receipt shows, with the log's key and nothing else, that an event is in the log and has not been "
            "changed since. Each can be saved as a file and checked on any computer."
        ),
        "receipt_save": "Save this receipt",
        "receipt_none": "no receipt yet",
        "check": "How to check this report",
        "check_key": (
            "Take the log's verifier key from whoever gave it to you when the log was set up, not from this page. "
            "This report was made with:"
        ),
        "check_receipt": "Check a receipt, offline:",
        "check_log": "Check the whole log and its decisions, with a copy of its database:",
        "check_files": "Compare the sealed files with the hashes above; this needs no key:",
        "check_hand": "Every format is published: JWS, SD-JWT, RFC 6962, C2SP tlog-proof. docs/audit shows it by hand.",
        "limits": "What this does not prove",
        "limits_text": (
            "Who held the telephone, that they listened, or that nothing else recorded the call. Times are the "
            "server's clock. A receipt is as good as the key that it is checked with."
        ),
        "footer": "Made by Assent {version}. This file loads nothing and asks nobody.",
        "page": "Page",
        "of": "of",
    },
}
"""Texts by name. `{…}` are filled in by the report."""

MODES = ("opt_out", "opt_in", "required", "never")


def words(language: str) -> Mapping[str, str]:
    """The words of a language. Raises ExportError for one that is not there."""
    found = LANGUAGES.get(language) or LANGUAGES.get(language.partition("-")[0])
    if found is None:
        raise ExportError(f"there is no report in {language!r}", todo=f"one of: {', '.join(sorted(LANGUAGES))}")
    return found
