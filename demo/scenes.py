# SPDX-License-Identifier: GPL-3.0-or-later
"""The four calls of the demo: what the caller does, and what was promised about it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from demo.stage import Stage


@dataclass(frozen=True, slots=True)
class Scene:
    """One call. Promised: whether there is a recording, and what the log says the caller decided."""

    number: str
    title: str
    promise: str
    play: Callable[[Stage], None]
    recorded: bool
    decision: str
    seconds: int
    mode: str = "opt_out"

    @property
    def agent(self) -> str:
        """The user part under which the agent is rung in this call."""
        return f"agent-{self.number}"


def _no_key(stage: Stage) -> None:
    stage.ring()
    stage.joined()
    stage.talk(4)
    stage.hang_up()


def _opts_out(stage: Stage) -> None:
    stage.ring()
    stage.hears_notice(2.5)
    stage.press("9")
    stage.joined()
    stage.talk(3)
    stage.hang_up()


def _withdraws(stage: Stage) -> None:
    stage.ring()
    stage.joined()
    stage.talk(3)
    stage.press("9")
    stage.stopped()
    stage.talk(2.5)
    stage.hang_up()


SCENES = (
    Scene("101", "opt-out flow, no key", "recorded, both parties", _no_key, True, "not_objected", 26),
    Scene("102", "opt-out key in the notice", "not recorded, still connected", _opts_out, False, "refused", 11),
    Scene("103", "withdrawal in mid-call", "recording stops, call goes on", _withdraws, True, "not_objected", 29),
    Scene("104", "opt-in flow, silence", "not recorded, still connected", _no_key, False, "not_given", 36, "opt_in"),
)


def flows(agent_port: int) -> dict[str, Any]:
    """The flow of each scene, as `flows:` of a flow file."""
    return {f"demo-{scene.number}": _flow(scene, agent_port) for scene in SCENES}


def _flow(scene: Scene, agent_port: int) -> dict[str, Any]:
    said = {
        "controller": "Example Limited",
        "purposes": ["quality"],
        "retention": "30 days",
        "storage": {"place": "Germany"},
        "access": ["quality_team"],
        "on_withdraw": "keep",
    }
    if scene.mode == "opt_in":
        keys = {"accept": "1", "refuse": "2", "withdraw": "9"}
        consent = {"mode": "opt_in", "lawful_basis": "consent", **said, "keys": keys, "window": "3s"}
    else:
        consent = {"mode": "opt_out", "lawful_basis": "legitimate_interests", **said, "keys": {"refuse": "9"}}
    bridge = {"targets": [f"sip:{scene.agent}@127.0.0.1:{agent_port}"], "fallback": "nobody"}
    sections = {"main": [{"consent": consent}, {"bridge": bridge}, "hangup"], "nobody": ["hangup"]}
    return {"numbers": [scene.number], "language": "en", "sections": sections}
