# SPDX-License-Identifier: GPL-3.0-or-later
"""Two nodes behind a front edge, with telephones, each on a machine of its own (netns_kit), and the operator's desk."""

import json
import os
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

from ivr.ledger.query import LogReader, ShownEvent
from ivr.node.settings import Settings
from netns_kit import Machine

IVR = Path(sys.executable).with_name("ivr")
HERE = Path(__file__).parent / "nodes"
CALLER = "+4930123456"
NUMBER = "700"
NODES = ("a", "b")
WORKERS = 2
CALLS = 2 * WORKERS


# Every fact that the loader demands, in as few words as a transcript can have.
KEY = "9"
TRANSCRIPT = "B records this for X, one day in Y, Z may listen. Press 9 at any time: what is recorded so far is kept."


class LabFailed(AssertionError):
    """Something did not become so in time; the message says what was there instead."""


def until(condition: Callable[[], bool], what: str, within: float = 90.0, dump: Callable[[], str] = str) -> None:
    """Wait for a condition. Raises LabFailed."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise LabFailed(f"not within {within:g} s: {what}\n{dump()}")
        time.sleep(0.05)


def ivr(*words: object, within: float = 120) -> "subprocess.CompletedProcess[str]":
    """One `ivr` command, beside the network."""
    env = {**os.environ, "COLUMNS": "140", "NO_COLOR": "1"}
    return subprocess.run([str(IVR), *map(str, words)], capture_output=True, text=True, timeout=within, env=env)


@dataclass
class Lab:
    """`machines` are a, b, front and phones."""

    folder: Path
    machines: Mapping[str, Machine]
    phones: list[subprocess.Popen[bytes]] = field(default_factory=list)
    started: int = 0
    said: str = ""

    # -- making ------------------------------------------------------------------------------------------------------

    def make(self, database: Callable[[str], str] | None = None) -> None:
        """Folders of all; `database` is a node's, if not in its folder."""
        front, phones = self.machines["front"].address, self.machines["phones"].address
        for name in NODES:
            self._init(name, database)
            here = self.machines[name].address
            self._set(
                name,
                sip={"address": here},
                media={"address": here, "port_range": 16 * WORKERS},
                pool={"max": WORKERS, "min_spare": WORKERS},
                edge={"trunks": [{"name": "front", "sources": [front], "front": True}]},
                limits={"drain_timeout": "60s", "media_timeout": "8s"},
                ledger={"checkpoint": {"events": 20, "interval": "2s"}},
            )
            self._flows(name, f"sip:agent@{phones}:5080")
        self._share_keys()
        (self.folder / "front").mkdir()
        self._set(
            "front",
            sip={"address": front},
            edge={
                "inside": {"address": front, "port": 5062},
                "nodes": [{"name": n, "address": self.machines[n].address, "calls": CALLS} for n in NODES],
                "trunks": [{"name": "callers", "sources": [phones]}],
            },
        )
        self._flows("front", f"sip:agent@{phones}:5080")
        (self.folder / "desk").mkdir()
        rows = [{"name": n, "folder": f"../{n}"} for n in NODES]
        (self.folder / "desk/server.yaml").write_text(yaml.safe_dump({"nodes": rows}))

    def _init(self, name: str, database: Callable[[str], str] | None) -> None:
        more = ("--database", database(name)) if database else ()
        done = ivr("init", self.folder / name, "--origin", f"example.org/{name}", *more)
        if done.returncode:
            raise LabFailed(done.stdout + done.stderr)

    def _set(self, name: str, **groups: Mapping[str, object]) -> None:
        file = self.folder / name / "server.yaml"
        known = yaml.safe_load(file.read_text()) if file.exists() else {}
        for group, values in groups.items():
            old = known.get(group)
            known[group] = {**(old if isinstance(old, dict) else {}), **values}
        file.write_text(yaml.safe_dump(known, sort_keys=False))

    def _flows(self, name: str, agent: str) -> None:
        flows = self.folder / name / "flows"
        flows.mkdir(exist_ok=True)
        for shipped in flows.glob("*.yaml"):
            shipped.unlink()
        consent = {
            "mode": "opt_out",
            "lawful_basis": "legitimate_interests",
            "controller": "B",
            "purposes": [{"en": "X"}],
            "retention": "1 day",
            "storage": {"place": "Y"},
            "access": [{"en": "Z"}],
            "keys": {"refuse": KEY},
            "on_withdraw": "keep",
            "notice": {"file": "notice.wav", "transcript": TRANSCRIPT},
        }
        bridge = {"targets": [agent], "ring_back": False, "fallback": "nobody"}
        sections = {"main": [{"consent": consent}, {"bridge": bridge}, "hangup"], "nobody": ["hangup"]}
        flow = {"numbers": [NUMBER], "language": "en", "sections": sections}
        (flows / "flows.yaml").write_text(yaml.safe_dump({"flows": {"main": flow}}, sort_keys=False))
        _write_notice(flows / "notice.wav")

    def _share_keys(self) -> None:
        """Who may do what, who can open recordings, and how numbers are found: the same on all nodes."""
        for shared in ("people.txt", "recipients.txt", "pseudonym.key"):
            (self.folder / "b/keys" / shared).write_bytes((self.folder / "a/keys" / shared).read_bytes())

    # -- running -----------------------------------------------------------------------------------------------------

    def start_front(self) -> None:
        self._start("front", "edge", "run")
        until(lambda: bool(self.front()), "the front edge answers", dump=lambda: self.output("front"))

    def start(self, *names: str) -> None:
        """Nodes, until the front edge sends them calls."""
        for name in names:
            self._start(name, "serve")
        for name in names:
            until(lambda: self.state(name) == "active", f"{name} gets calls", dump=lambda: self.dump(name))  # noqa: B023

    def _start(self, name: str, *words: str) -> None:
        command = [str(IVR), *words, "--config", str(self.folder / name)]
        env = {**os.environ, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}
        self.machines[name].start(command, self.folder / f"{name}.out", env)

    def output(self, name: str) -> str:
        return (self.folder / f"{name}.out").read_text(errors="replace")[-6000:]

    def dump(self, name: str) -> str:
        return f"{self.said}\n--- {name}:\n{self.output(name)}"

    def front(self) -> dict[str, str]:
        """What the front edge holds of each node, by name; empty while it does not answer.

        Asked on its machine: where an answer to a datagram socket goes is a matter of the network namespace.
        """
        done = self.on("front", "edge", "status", "--json")
        self.said = done.stdout + done.stderr
        return (
            {place["name"]: place["state"] for place in json.loads(done.stdout)["workers"]}
            if not done.returncode
            else {}
        )

    def state(self, name: str) -> str | None:
        return self.front().get(name)

    def on(self, name: str, *words: str) -> "subprocess.CompletedProcess[str]":
        """An `ivr` command on a machine, about its own folder."""
        return self.machines[name].run(str(IVR), *words, "--config", str(self.folder / name))

    # -- telephones --------------------------------------------------------------------------------------------------

    def start_agents(self) -> None:
        self._sipp(["-sf", str(HERE / "agent.xml"), "-p", "5080", "-mp", "20000"])

    def call(self, seconds: float | None) -> "subprocess.Popen[bytes]":
        """A call that hangs up after so long, or that the other side is to end. Ends with 0 if it went so."""
        end = "hang_up" if seconds is not None else "be_cut"
        scenario = self.folder / f"{end}-call.xml"
        if not scenario.exists():
            scenario.write_text((HERE / "caller.xml").read_text().replace("@END@", (HERE / f"{end}.xml").read_text()))
        self.started += 1
        words = [
            "-sf",
            str(scenario),
            "-s",
            NUMBER,
            "-key",
            "caller",
            CALLER,
            "-m",
            "1",
            "-d",
            str(int((seconds or 0) * 1000)),
        ]
        words += ["-p", str(6000 + 2 * self.started), "-mp", str(30_000 + 16 * self.started)]
        return self._sipp([*words, f"{self.machines['front'].address}:5060"])

    def calls(self, count: int, seconds: float | None) -> "list[subprocess.Popen[bytes]]":
        return [self.call(seconds) for _ in range(count)]

    def gets_calls_again(self, name: str) -> None:
        """Calls, four at a time, until this node has had some of them; none of all these fails."""
        was = self.calls_with(name, "call.received")
        for _ in range(8):
            self.went_well(self.calls(4, 1))
            if len(self.calls_with(name, "call.received") - was) > 0:
                return
        raise LabFailed(f"{name} gets no calls\n{self.dump(name)}\n{self.output('front')}")

    def _sipp(self, words: Sequence[str]) -> "subprocess.Popen[bytes]":
        phones = self.machines["phones"]
        folder = self.folder / "phones"
        if not folder.exists():
            folder.mkdir()
            _write_voice(folder / "voice.ulaw")
        log = folder / f"{self.started}.err"
        common = ["-i", phones.address, "-mi", phones.address, "-nostdin", "-trace_err", "-error_file", str(log)]
        with (folder / f"{self.started}.out").open("wb") as out:
            phone = subprocess.Popen(
                [*phones.enter, "setpriv", "--pdeathsig=KILL", "sipp", *common, *words],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TERM": "dumb"},
            )
        self.phones.append(phone)
        return phone

    def told(self) -> str:
        """What SIPp had to say."""
        return "\n".join(file.read_text(errors="replace")[-800:] for file in (self.folder / "phones").glob("*.err"))

    def went_well(self, phones: Sequence["subprocess.Popen[bytes]"], within: float = 90) -> None:
        """Every one of these calls went as its scenario says. Raises LabFailed."""
        ends = [phone.wait(within) for phone in phones]
        if any(ends):
            raise LabFailed(f"calls ended with {ends}\n{self.told()}\n{self.output('front')}")

    def close(self) -> None:
        for phone in self.phones:
            if phone.poll() is None:
                phone.kill()
                phone.wait()

    # -- afterwards --------------------------------------------------------------------------------------------------

    def events(self, name: str, *types: str) -> list[ShownEvent]:
        """A node's log, as its ledger has made it durable."""
        with LogReader(Settings.load(self.folder / name).storage.database) as log:
            return list(log.of_types(types) if types else log.events())

    def calls_with(self, name: str, kind: str) -> set[str]:
        """The calls of a node that have an event of this type."""
        return {str(event.call) for event in self.events(name, kind)}

    def recorded(self, name: str, count: int) -> None:
        """Wait until so many recordings have been started on a node."""
        until(
            lambda: len(self.events(name, "recording.started")) >= count,
            f"{name} records {count} calls",
            dump=lambda: self.dump(name),
        )

    def desk(self, *words: object) -> "subprocess.CompletedProcess[str]":
        """A command of the operator over all nodes."""
        return ivr(*words, "--all-nodes", "--config", self.folder / "desk")


def _write_notice(file: Path) -> None:
    """2.5 s of a tone: the transcript takes as long to say."""
    tone = np.sin(2 * np.pi * 400 * np.arange(20_000) / 8000) * 6000
    with wave.open(str(file), "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(tone.astype("<i2").tobytes())


def _write_voice(file: Path) -> None:
    """4 s of mu-law that FLAC has work with."""
    file.write_bytes(np.random.default_rng(7).integers(0, 256, 32_000).astype(np.uint8).tobytes())
