# SPDX-License-Identifier: GPL-3.0-or-later
"""A real server with real telephones for a test, and what every test ends with: a log that verifies and replays."""

import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demo.driver import Event, Peer
from demo.server import Server
from ivr.audit.files import check_files
from ivr.audit.replay import replay
from ivr.audit.source import LogSource
from ivr.audit.verify import verify_log
from ivr.ledger.note import VKey
from ivr.ledger.query import LogReader, ShownEvent

ALICE_HZ, BOB_HZ, CAROL_HZ = 440, 1000, 1300

_WORDS = {
    "opt_out": (
        "Example records for quality, one day, Germany, supervisors. Press 9 any time; recorded so far will be {}."
    ),
    "opt_in": (
        "Example records for quality, one day, Germany, supervisors. "
        "1 yes, 2 no, 9 any time; recorded so far will be {}."
    ),
}
_TWO_KEYS_WORDS = (
    "Example records for quality, one day, Germany, supervisors. Press 9 to refuse, 7 any time to withdraw; "
    "recorded so far will be {}."
)
_KEPT = {"keep": "kept", "erase": "erased"}
_SPEED = 330


@dataclass(frozen=True, slots=True)
class Notices:
    """Short recorded notices, so that a call gets to its point in three seconds."""

    folder: Path

    def of(self, mode: str, on_withdraw: str, *, two_keys: bool = False) -> dict[str, str]:
        """File and transcript of the notice of this mode, spoken once."""
        words = _TWO_KEYS_WORDS if two_keys else _WORDS["opt_in" if mode == "opt_in" else "opt_out"]
        words = words.format(_KEPT[on_withdraw])
        file = self.folder / f"{mode}-{on_withdraw}{'-two' * two_keys}.wav"
        if not file.exists():
            subprocess.run(["espeak-ng", "-v", "en", "-s", str(_SPEED), "-w", str(file), words], check=True)
        return {"file": str(file), "transcript": words}


_KEYS = {"opt_out": {"refuse": "9"}, "opt_in": {"accept": "1", "refuse": "2", "withdraw": "9"}}
TWO_KEYS = {"refuse": "9", "withdraw": "7"}
"""A flow whose refusal before the call and withdrawal in it are different keys."""
_BASIS = {"opt_out": "legitimate_interests", "opt_in": "consent", "required": "legal_obligation"}


def consent(notices: Notices, mode: str, on_withdraw: str = "keep", **other: object) -> dict[str, object]:
    """A consent step with a short notice."""
    if mode == "never":
        return {"consent": {"mode": "never", "lawful_basis": "contract"}}
    said: dict[str, object] = {
        "mode": mode,
        "lawful_basis": _BASIS[mode],
        "controller": "Example",
        "purposes": ["quality"],
        "retention": "1 day",
        "storage": {"place": "Germany"},
        "access": ["supervisors"],
        "keys": _KEYS.get(mode, {"refuse": "9"}),
        "on_withdraw": on_withdraw,
        "notice": notices.of(mode, on_withdraw, two_keys=other.get("keys") == TWO_KEYS),
    }
    if mode == "opt_in":
        said["window"] = "3s"
    return {"consent": said | other}


def flow(number: str, step: Mapping[str, object], *targets: str, **bridge: object) -> dict[str, object]:
    """A flow: consent, bridge, hang up; and a section for when nobody answers."""
    join = {"targets": list(targets), "fallback": "nobody", "ring_back": "europe", **bridge}
    main: list[object] = [dict(step), {"bridge": join}, "hangup"]
    sections = {"main": main, "nobody": [{"play": "Nobody is there."}, "hangup"]}
    return {"numbers": [number], "language": "en", "sections": sections}


def with_menu(made: dict[str, Any]) -> dict[str, Any]:
    """The flow with a menu between consent and bridge: 1 goes on, anything else asks again, then hangs up."""
    step, bridge, *rest = made["sections"]["main"]
    menu = {"prompt": "Press 1.", "timeout": "5s", "retries": 2, "keys": {"1": "talk"}, "otherwise": "nobody"}
    sections = {"main": [step, {"menu": menu}], "talk": [bridge, *rest], "nobody": made["sections"]["nobody"]}
    return {**made, "sections": sections}


def with_welcome(made: dict[str, Any]) -> dict[str, Any]:
    """The flow with something said before its consent step."""
    sections = made["sections"]
    main = [{"play": "Welcome to Example, and thank you for calling us today."}, *sections["main"]]
    return {**made, "sections": {**sections, "main": main}}


@dataclass
class House:
    """A server and its telephones, for the tests of one module."""

    server: Server
    peers: dict[str, Peer] = field(default_factory=dict)
    _since: int = 0

    def begin(self) -> None:
        """Before a test: from here on is this test."""
        self._since = self.server.log.next
        for peer in self.peers.values():
            peer.mark()

    def add(self, peer: Peer) -> Peer:
        """A telephone that is closed with the house."""
        self.peers[peer.name] = peer
        return peer

    def ring(self, caller: Peer, number: str, **how: Any) -> "Line":
        """The caller dials; returns when the server has taken the call."""
        since = self.server.log.next
        place = caller.call(self.server.uri(number), **how)
        call = self.server.log.wait("call.received", since=since, caller=caller.name).call
        return Line(self, caller, place, call or "")

    def end(self) -> None:
        """After a test: everybody hangs up, every call has its last event, and the log holds."""
        for peer in self.peers.values():
            peer.hang_up_all()
        self.wait_idle()
        self.check()

    def wait_idle(self, within: float = 15) -> None:
        """Waits until every call of this test is over in the log."""
        log = self.server.log
        log.poll()
        for call in {event.call for event in log.events if event.seq >= self._since and event.call}:
            log.wait_any(("call.ended", "call.lost"), call=call, within=within)

    def check(self) -> None:
        """The omnibus check: signatures, chain, tree, checkpoints, files, and every decision replayed."""
        folder = self.server.folder
        vkey = VKey.read(folder / "keys" / "ledger.vkey")
        with LogSource(self.server.log.path) as source:
            report = verify_log(source, vkey)
        files = check_files(folder / "data" / "recordings", report.recordings)
        with LogReader(self.server.log.path) as log:
            replayed = replay(log.events())
        found = [*report.findings, *files, *replayed.differences]
        if found:
            said = "\n".join(map(str, found))
            raise AssertionError(f"the log does not hold:\n{said}\n{self.server.log.story()}")

    def events(self) -> list[ShownEvent]:
        """The events of this test so far."""
        self.server.log.poll()
        return [event for event in self.server.log.events if event.seq >= self._since]

    def story(self) -> str:
        """Everything, for a failed test."""
        told = [f"{name}:\n{peer.story()}" for name, peer in self.peers.items()]
        log = "\n".join(["log:", self.server.log.story(since=self._since)])
        return "\n".join([log, *told, "server:", self.server.output[-6000:]])


@dataclass
class Line:
    """One call: what the caller does, and what the log says of it."""

    house: House
    caller: Peer
    place: int
    call: str

    def wait(self, type: str, *, within: float = 15, count: int = 1, **fields: object) -> ShownEvent:
        """An event of this call."""
        return self.house.server.log.wait(type, call=self.call, within=within, count=count, **fields)

    def events(self, *types: str) -> list[ShownEvent]:
        """Events of this call so far, of these types or all."""
        return [event for event in self.house.server.log.of(self.call) if not types or event.type in types]

    @property
    def types(self) -> list[str]:
        """The types of its events, in order."""
        return [event.type for event in self.events()]

    def only(self, type: str) -> ShownEvent:
        """The one event of this type."""
        found = self.events(type)
        if len(found) != 1:
            raise AssertionError(f"{len(found)} {type}, not 1, in\n{self.house.server.log.story(self.call)}")
        return found[0]

    def none(self, *types: str) -> None:
        """No event of any of these types."""
        if found := self.events(*types):
            raise AssertionError(f"unexpected {found[0].type} in\n{self.house.server.log.story(self.call)}")

    def press(self, keys: str, method: str = "rfc4733") -> Event:
        """The caller presses keys."""
        return self.caller.dtmf(keys, method, call=self.place)

    def in_notice(self, seconds: float = 0.6) -> None:
        """The notice has begun, and has so much of it been sent. A point in the notice, not a wait for anything."""
        self.wait("notice.started")
        time.sleep(seconds)

    def hang_up(self) -> ShownEvent:
        """The caller hangs up; the last event."""
        self.caller.hangup(self.place)
        return self.wait("call.ended")

    def decided(self, party: str = "caller") -> list[str]:
        """What a party decided, as the log says."""
        return [str(e.data["decision"]) for e in self.events("consent.decided") if e.data["party"] == party]

    def unrecorded(self) -> None:
        """Nothing was permitted, started or kept."""
        self.none("recording.permitted", "recording.started", "recording.stopped")
        if (self.house.server.folder / "data" / "recordings" / self.call).exists():
            raise AssertionError(f"there are files of call {self.call}")

    def kept_ms(self) -> int:
        """How much audio the one recording of this call holds."""
        stopped = self.only("recording.stopped").data
        return int(stopped["samples"]) * 1000 // int(stopped["rate"])


def both_hear(line: Line, agent: Peer, hz: Sequence[int] = (ALICE_HZ, BOB_HZ)) -> None:
    """The parties hear each other's tones."""
    agent.hear(hz[0])
    line.caller.hear(hz[1], call=line.place)
