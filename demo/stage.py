# SPDX-License-Identifier: GPL-3.0-or-later
"""Where one call of the demo is played: its caller, the agent's side of it, and its events in the log."""

import time
from collections.abc import Callable

from demo.driver import Event, Peer
from demo.logtail import LogTail
from ivr.ledger.query import ShownEvent

CALLER_HZ, AGENT_HZ = 440, 1000
_NOTICE_S = 90.0

Say = Callable[[str], None]


class Stage:
    """Acts and waits. Every wait has a deadline and explains itself."""

    def __init__(self, caller: Peer, agent: Peer, agent_user: str, uri: str, log: LogTail, say: Say) -> None:
        self.caller = caller
        self.agent = agent
        self._agent_user = agent_user
        self._uri = uri
        self.log = log
        self._say = say
        self.call = ""
        self.agent_call: int | None = None
        self.heard: dict[str, Event] = {}

    def ring(self) -> None:
        """The caller rings; the server answers."""
        self.caller.call(self._uri)
        self._say(f"the caller rings {self._uri}")
        self.caller.wait("confirmed")
        self.call = self.log.wait("call.received", caller=self.caller.name).call or ""

    def hears_notice(self, seconds: float) -> None:
        """The notice plays for so long."""
        self.log.wait("notice.started", call=self.call)
        time.sleep(seconds)

    def press(self, key: str) -> None:
        """The caller presses a key."""
        self._say(f"the caller presses {key}")
        self.caller.dtmf(key)

    def joined(self) -> None:
        """The agent answers and both hear each other, by their tones."""
        self.log.wait("bridge.started", call=self.call, within=_NOTICE_S)
        rung = next(e for e in self.agent.seen("incoming", since=0) if f"sip:{self._agent_user}@" in e["to"])
        self.agent_call = int(rung["call"])
        self.heard["agent hears"] = self.agent.hear(CALLER_HZ, call=self.agent_call)
        self.heard["caller hears"] = self.caller.hear(AGENT_HZ)
        self._say(
            f"the agent hears {self.heard['agent hears']['hz']} Hz, the caller {self.heard['caller hears']['hz']} Hz"
        )

    def talk(self, seconds: float) -> None:
        """Both go on talking."""
        time.sleep(seconds)

    def stopped(self) -> None:
        """The recording has stopped, and the parties still hear each other."""
        self.log.wait("recording.stopped", call=self.call)
        self.heard["agent hears after"] = self.agent.hear(CALLER_HZ, call=self.agent_call)
        self.heard["caller hears after"] = self.caller.hear(AGENT_HZ)

    def hang_up(self) -> None:
        """The caller hangs up; returns when the log is complete."""
        self._say("the caller hangs up")
        self.caller.hangup()
        self.log.wait("call.ended", call=self.call, within=15)

    def events(self) -> list[ShownEvent]:
        """What the log says of this call."""
        return self.log.of(self.call)
