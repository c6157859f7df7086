# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machine is told by an event, as a key: equal keys, equal inputs. For replay's memo (memo.py).

Stands beside `event_input` of ivr/consent/record.py, field for field. The rule, to which a property test holds it: when
two events have equal keys and one can be read, the other can be too, and both give the same input. What could break it
has no key, and is read and refused by `event_input` itself. Values are taken to be what JSON has. To Python
1 == True == 1.0, so a number or a truth is looked at for its type; text equals nothing but text.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import Any

Data = Mapping[str, Any]
KeyOf = Callable[[Data], Hashable | None]


def _answered(d: Data) -> Hashable | None:
    paths = d["key_paths"]
    return ("call.answered", *paths) if type(paths) is list else None


def _asked(d: Data) -> Hashable | None:
    policy = d["policy"]
    if type(policy) is not dict:
        return None
    return ("consent.asked", *policy.items(), *map(type, policy.values()))


def _started(d: Data) -> Hashable | None:
    samples = d["samples"]
    return ("notice.started", samples) if type(samples) is int else None


def _completed(d: Data) -> Hashable | None:
    sent, total = d["samples_sent"], d["samples_total"]
    return ("notice.completed", sent, total) if type(sent) is int and type(total) is int else None


def _renegotiated(d: Data) -> Hashable | None:
    paths = d["key_paths"]
    return ("leg.renegotiated", d["party"], *paths) if type(paths) is list else None


def _informed(d: Data) -> Hashable | None:
    recorded = d["recorded"]
    return ("agent.informed", d["party"], recorded) if type(recorded) is bool else None


def _of_number(kind: str) -> KeyOf:
    def key(d: Data) -> Hashable | None:
        number = d["number"]
        return (kind, number) if type(number) is int else None

    return key


def _failed(d: Data) -> Hashable | None:
    number = d["number"]
    return ("recording.failed", number, d["reason"]) if type(number) is int else None


KEYS: Mapping[str, KeyOf] = {
    "call.answered": _answered,
    "consent.asked": _asked,
    "notice.started": _started,
    "notice.completed": _completed,
    "notice.interrupted": lambda d: ("notice.interrupted", d["reason"]),
    "notice.failed": lambda d: ("notice.failed", d["reason"]),
    "consent.signalled": lambda d: ("consent.signalled", d["party"], d["source"], d["value"]),
    "consent.timed_out": lambda d: ("consent.timed_out", d["timer"]),
    "ledger.unreachable": lambda d: ("ledger.unreachable", d["reason"]),
    "consent.faulted": lambda d: ("consent.faulted", d["reason"]),
    "leg.held": lambda d: ("leg.held", d["party"]),
    "leg.resumed": lambda d: ("leg.resumed", d["party"]),
    "leg.renegotiated": _renegotiated,
    "party.joined": lambda d: ("party.joined", d["party"]),
    "party.left": lambda d: ("party.left", d["party"], d["reason"]),
    "agent.informed": _informed,
    "agent.not_informed": lambda d: ("agent.not_informed", d["party"], d["reason"]),
    "recording.armed": _of_number("recording.armed"),
    "recording.started": _of_number("recording.started"),
    "recording.failed": _failed,
    "recording.stopped": _of_number("recording.stopped"),
}
"""One for every event type that is an input. Raises KeyError for a field that is not there; a key may be unhashable."""
