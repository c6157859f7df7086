# SPDX-License-Identifier: GPL-3.0-or-later
"""Every machine that ever decided a call, by version: the log names the version, replay needs that one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ivr.consent import machine
from ivr.consent.effects import Effect
from ivr.consent.inputs import Input
from ivr.consent.state import State, initial

Step = Callable[[State, Input, int], tuple[State, tuple[Effect, ...]]]


@dataclass(frozen=True, slots=True)
class Machine:
    """One version: the state a call begins in, and its step."""

    initial: Callable[[], State]
    step: Step


NEWEST = machine.VERSION
MACHINES: Mapping[int, Machine] = MappingProxyType({machine.VERSION: Machine(initial, machine.step)})
