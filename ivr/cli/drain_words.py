# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drain or its end means now and what comes next, in sentences, from the status of the pool."""

from collections.abc import Mapping, Sequence
from typing import Any

Status = Mapping[str, Any]


def left(names: Sequence[str], status: Status) -> dict[str, int]:
    """The calls of those of these workers that still run."""
    return {w["name"]: len(w["calls"]) for w in status["workers"] if w["name"] in names}


def confirmed(names: Sequence[str], status: Status) -> bool:
    """Whether they have said that they take no new calls: before that, one may be on its way to them."""
    return all(w["closed"] for w in status["workers"] if w["name"] in names)


def settled(names: Sequence[str], status: Status) -> bool:
    """Whether no call is left and none can come."""
    return confirmed(names, status) and not any(left(names, status).values())


def drained(what: str, names: Sequence[str], status: Status) -> list[str]:
    """After `ivr drain`, whether it waited or not."""
    subject = "the node" if what == "node" else what
    answered = "callers get 503" if what == "node" else "the other workers get them"
    now = f"{subject} takes no new calls ({answered}) until: ivr undrain{'' if what == 'node' else f' {what}'}"
    calls = sum(left(names, status).values())
    if what != "node" and not left(names, status):
        return [now, f"{what} does not run at the moment, and is not started until then"]
    if settled(names, status):
        return [now, f"{subject} is drained: no call is up"]
    up = {0: "no call is up, but not every worker has answered yet", 1: "1 call is up, and goes on to its end"}
    return [
        now,
        up.get(calls, f"{calls} calls are up, and go on to their end"),
        "it is drained when the last call has ended: the server's log says so, `ivr top` shows the calls, "
        f"`ivr drain {what} --wait SECONDS` waits for it",
    ]


def undrained(what: str, names: Sequence[str], status: Status) -> list[str]:
    """After `ivr undrain`."""
    held = [name for name in status["held"] if name != what]
    if what == "node":
        by_name = [f"still drained, because it was by name: {name} (ivr undrain {name})" for name in held]
        return ["the node takes new calls again", *by_name]
    if status["state"] == "draining":
        return [f"{what} takes no new calls yet: the whole node is drained (ivr undrain)"]
    leaving = [w["leaving"] for w in status["workers"] if w["name"] in names and w["leaving"]]
    if leaving:
        return [f"{what} is on its way out ({leaving[0]}) and takes no new calls; a new worker does in its place"]
    if not names:
        return [f"{what} does not run; it is started when calls need it"]
    return [f"{what} takes new calls again"]
