# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings that a manager reads at its own start: what a rolling restart leaves as it was, and what it would break."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from ivr.node.settings import Settings

Fixed = Mapping[str, str]

_GROUPS = ("pool", "metrics")
_SINGLE = ("limits.calls", "limits.drain_timeout", "media.port")
_ALONE = ("sip.address", "sip.port", "media.port_range")
"""Of the one worker without an edge: there they are its place."""

_PLACES = frozenset({"pool.control", "pool.sip_port", "media.port", *_ALONE})
"""Where workers are: with others, new workers would be where neither manager nor edge looks for them."""

HOW = "stop and start the server, or `systemctl restart ivr-edge.service ivr-pool.service`: workers drain first"
"""The edge too: it reads the list of places at its start."""


def fixed(settings: Settings) -> dict[str, str]:
    """Their names and values, as text."""
    names = [*_SINGLE, *(() if settings.pool.edge else _ALONE)]
    found = {name: _value(settings, name) for name in names}
    for group in _GROUPS:
        found |= dict(_leaves(group, getattr(settings, group)))
    # However the folder is spelled: a command may come to it by another path than the manager.
    found["pool.control"] = os.path.relpath(settings.pool.control, settings.folder)
    return found


def differing(running: Fixed, now: Fixed) -> list[str]:
    """What server.yaml says `now` and a rolling restart does not change. Names that one side does not know are left
    out: manager and command may be of two versions."""
    return [
        f"{name} ({value} runs, server.yaml says {now[name]})"
        for name, value in running.items()
        if name in now and now[name] != value
    ]


def moved(running: Fixed, now: Fixed) -> list[str]:
    """Those of them with which no new worker may be started."""
    places = {name for name in _PLACES & running.keys() & now.keys() if now[name] != running[name]}
    before, after = int(running.get("pool.max", 1)), int(now.get("pool.max", 1))
    if before == 1:
        places.discard("pool.sip_port")
    if after < before or before == 1 < after:  # a worker without a place, or an edge that is not there
        places.add("pool.max")
    return sorted(places)


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, BaseModel):
        for field in type(value).model_fields:
            yield from _leaves(f"{name}.{field}", getattr(value, field))
    else:
        yield name, str(value)


def _value(settings: Settings, name: str) -> str:
    group, _, field = name.partition(".")
    return str(getattr(getattr(settings, group), field))
