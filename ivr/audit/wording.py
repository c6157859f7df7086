# SPDX-License-Identifier: GPL-3.0-or-later
"""The words for what stands in the log as one word: parties, sources and reasons."""

from collections.abc import Mapping

PARTIES: Mapping[str, str] = {"caller": "the caller", "agent-1": "the agent"}

SOURCES: Mapping[str, str] = {
    "dtmf": "key",
    "info": "key by SIP INFO",
    "inband": "key heard in the audio",
    "sip:recordpref": "telephone's setting (SIP)",
    "operator": "the operator",
    "silence": "silence",
    "notice": "notice",
}

# Both the reasons of the consent machine and those of whoever feeds it; what is not here is shown as it is.
REASONS: Mapping[str, str] = {
    "refused": "the caller refused",
    "withdrawn": "the caller withdrew",
    "refused_by_other": "another party refused",
    "withdrawn_by_other": "another party withdrew",
    "caller_left": "the caller hung up",
    "party_left": "a party left",
    "parties_changed": "another party joined and needs a permit that names it",
    "party_not_cleared": "somebody on the line has not been told yet",
    "nobody_to_talk_to": "nobody else is on the line",
    "mode_never": "this flow never records",
    "no_key_path": "a key could not have been heard on this line",
    "not_answered": "the call was not answered",
    "notice_incomplete": "the notice was not heard to its end",
    "notice_short": "the notice was shorter than it should be",
    "notice_empty": "the notice was empty",
    "notice_held": "the line was on hold during the notice",
    "notice_unanswered": "the notice came before the call was answered",
    "notice_renegotiated": "the line changed during the notice",
    "notice_interrupted": "the notice was cut short",
    "notice_failed": "the notice could not be played",
    "notice_timeout": "the notice did not end in time",
    "not_informed": "the caller was not informed",
    "agent_not_informed": "the agent was not told to the end",
    "ledger": "the ledger did not answer in time",
    "start_timeout": "no sample came in time",
    "stop_timeout": "the recorder did not close in time",
    "recorder_failed": "the recorder failed",
    "recorder_closed": "the recorder closed by itself",
    "held": "a party is on hold",
    "preference": "a party asked for a pause",
    "lost": "the worker was lost",
    "worker-lost": "the worker vanished",
    "hangup": "the caller hung up",
    "stopped": "the decision was made before its end",
    "all_cleared": "everybody is cleared",
}
