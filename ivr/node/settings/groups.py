# SPDX-License-Identifier: GPL-3.0-or-later
"""The groups of server.yaml: every setting with its meaning, unit and default."""

from pathlib import Path
from typing import Annotated, Self

from annotated_types import Ge, Le, MinLen
from pydantic import Field, model_validator

from ivr.flow.duration import Duration, Period
from ivr.flow.values import BesideFile, Language
from ivr.flow.yamlfile import Node, Rules
from ivr.node.settings.archive import Archive
from ivr.node.settings.values import (
    Codec,
    Ipv4,
    LogFormat,
    LogLevel,
    LogPersonal,
    LogPlace,
    Port,
    Region,
    Transport,
    no_repeats,
)


class Sip(Node):
    """How calls reach this server."""

    address: Ipv4 = "127.0.0.1"
    """The address that SIP listens on; 0.0.0.0 for every one of this machine."""
    port: Port = 5060
    """The port that SIP listens on."""
    transports: Annotated[tuple[Transport, ...], MinLen(1)] = (Transport.UDP,)
    """The transports that SIP listens on: udp, tcp or both. TCP only where strangers cannot connect: each connection
    takes one of the SIP stack's 64 handles."""
    user_agent: Annotated[str, MinLen(1)] = "Assent"
    """The name in the User-Agent header."""
    codecs: Annotated[tuple[Codec, ...], MinLen(1)] = (Codec.PCMA, Codec.PCMU, Codec.G722)
    """The codecs that are offered, the preferred one first. A caller with none of them gets 488."""
    info_dtmf: bool = True
    """Whether keys sent as SIP INFO count."""
    inband_dtmf: bool = False
    """Whether keys are listened for in the audio of a G.711 leg without telephone-event. Costs 1 % of a core a leg."""

    @model_validator(mode="after")
    def _rules(self) -> Self:
        rules = Rules()
        no_repeats(rules, "codecs", self.codecs)
        no_repeats(rules, "transports", self.transports)
        rules.done("Sip")
        return self


class Media(Node):
    """How audio reaches this server."""

    address: Ipv4 = "127.0.0.1"
    """The address that RTP is bound to."""
    public_address: Ipv4 | None = None
    """The address written into SDP when it is another one (behind NAT). Default: the address RTP is bound to."""
    port: Annotated[int, Ge(1024), Le(65534)] = 16000
    """The first RTP port; even."""
    port_range: Annotated[int, Ge(4), Le(64000)] = 200
    """How many ports from the first one on may be used. A bridged call takes four."""

    @model_validator(mode="after")
    def _rules(self) -> Self:
        rules = Rules()
        if self.port % 2:
            rules.refuse("port", f"port {self.port} is odd", "an even port: RTP takes it, RTCP the next (RFC 3550, 11)")
        if self.port + self.port_range > 65536:
            rules.refuse("port_range", f"{self.port_range} ports from {self.port} on end past 65535", "fewer")
        if self.public_address == "0.0.0.0":
            rules.refuse("public_address", "0.0.0.0 in SDP means on hold", "an address that callers can reach")
        rules.done("Media")
        return self


class Limits(Node):
    """How much, and how long."""

    calls: Annotated[int, Ge(1), Le(2)] = 2
    """Calls at a time in one worker; one more gets 486. At most 2: the SIP stack has four legs a process."""
    drain_timeout: Duration = Duration(120_000)
    """How long running calls may go on after SIGTERM."""
    max_call_time: Duration = Duration(7_200_000)
    """How long a call may last at most."""
    media_timeout: Duration = Duration(60_000)
    """A leg that is not on hold and sends no audio for so long is taken for dead, and its call ends."""

    @model_validator(mode="after")
    def _rules(self) -> Self:
        rules = Rules()
        if self.max_call_time.ms < 10_000:
            rules.refuse("max_call_time", f"calls of {self.max_call_time} end before a notice does", "at least 10s")
        if self.media_timeout.ms < 2_000:
            rules.refuse("media_timeout", f"a time-out of {self.media_timeout} ends calls with a pause", "at least 2s")
        rules.done("Limits")
        return self


class Checkpoint(Node):
    """When the ledger signs a checkpoint of its tree: after so many events or so much time, whichever is first."""

    events: Annotated[int, Ge(1), Le(1_000_000)] = 1000
    """After this many events."""
    interval: Duration = Duration(60_000)
    """After this time, when there was an event since the last one."""


class Ledger(Node):
    """The process that signs and stores events."""

    socket: BesideFile = Path("run/ledger.sock")
    """The Unix socket between worker and ledger."""
    permit_timeout: Duration = Duration(500)
    """How long a permit may take to be durable; after that the call is served unrecorded."""
    answer_timeout: Duration = Duration(2_000)
    """How long a ledger may answer nothing at all while a worker waits; after that recordings end, until it answers."""
    checkpoint: Checkpoint = Checkpoint()
    """When a checkpoint is signed."""

    @model_validator(mode="after")
    def _rules(self) -> Self:
        rules = Rules()
        if not 50 <= self.permit_timeout.ms <= 5_000:
            rules.refuse("permit_timeout", f"a time-out of {self.permit_timeout}", "between 50ms and 5s")
        if not 500 <= self.answer_timeout.ms <= 30_000:
            rules.refuse("answer_timeout", f"a time-out of {self.answer_timeout}", "between 500ms and 30s")
        rules.done("Ledger")
        return self


class Storage(Node):
    """Where the log and the recordings are. Back up database and keystore apart from recordings."""

    database: LogPlace = Path("data/log.sqlite")
    """Where the log is: a SQLite file, or postgresql://user@host/database?schema=name (docs/operate/database.md)."""
    recordings: BesideFile = Path("data/recordings")
    """The folder of sealed recordings."""
    keystore: BesideFile = Path("data/keystore")
    """The folder of the recordings' sealed secrets; without its secret a recording cannot be opened."""
    anchors: BesideFile = Path("data/anchors")
    """The folder of time stamps and cosignatures of checkpoints; nothing secret is in it."""
    subjects: BesideFile = Path("data/subjects")
    """The folder of the secrets of personal fields; without its secret a field cannot be read. The ledger's alone."""
    min_free: Annotated[int, Ge(0)] = 256
    """Free space below which no recording is started, in megabytes; calls are then served unrecorded."""
    archive: Archive | None = None
    """Where recordings are moved to. Default: nowhere, they stay in their folder."""


class KeyFiles(Node):
    """The key files that `ivr init` creates."""

    ledger: BesideFile = Path("keys/ledger.key")
    """The signing key of the log (Ed25519, PEM); read by the ledger process alone."""
    ledger_public: BesideFile = Path("keys/ledger.vkey")
    """Its public half, as a C2SP verifier key; the one that auditors hold."""
    pseudonym: BesideFile = Path("keys/pseudonym.key")
    """The key of the pseudonyms under which a caller's number is found again."""
    recipients: BesideFile = Path("keys/recipients.txt")
    """The age recipients that can open recordings; their secret half belongs on another machine."""
    people: BesideFile = Path("keys/people.txt")
    """Who may do what: role and public keys of operators, auditors and officers. Changed with `ivr access`."""


class Retention(Node):
    """How long what is kept, by kind. `ivr retention run` applies it; the systemd timer does that daily."""

    recordings: Period = Period(90, "day")
    """For recordings whose log names no retention of its own; the others are kept as their consent step said."""
    personal: Period = Period(90, "day")
    """Personal fields that prove nothing: dialled number, SIP Call-ID, agents' addresses; all of unasked calls."""
    evidence: Period = Period(3, "year")
    """The caller's number of calls that were asked for consent, and who did what: without it a proof has no person."""


class TimestampAuthority(Node):
    """A time-stamp authority (RFC 3161)."""

    url: Annotated[str, MinLen(1)]
    """Where it answers."""
    roots: BesideFile
    """Its root certificates (PEM): what its time stamps are checked against, here and by auditors."""


class WitnessService(Node):
    """A witness (C2SP tlog-witness)."""

    url: Annotated[str, MinLen(1)]
    """Its submission prefix, without /add-checkpoint."""
    key: Annotated[str, MinLen(1)]
    """Its verifier key, name+hash+base64 (type 0x04)."""


class Anchors(Node):
    """Who outside stamps or cosigns checkpoints, when `ivr log anchor` is run. Nobody unless named."""

    timestamps: tuple[TimestampAuthority, ...] = ()
    """Time-stamp authorities."""
    witnesses: tuple[WitnessService, ...] = ()
    """Witnesses."""


class Rights(Node):
    """Requests of the people who were recorded."""

    region: Region | None = None
    """The country of numbers that are written without one, as ISO 3166 names it, such as DE. Default: none."""


class Prompts(Node):
    """How notices and prompts are spoken."""

    engine: Annotated[str, MinLen(1)] = "espeak-ng"
    """The speech engine."""
    voices: dict[Language, str] = Field(default_factory=dict)
    """The engine's voice by language. Default: the engine's own voice of that language."""
    folder: BesideFile | None = None
    """A folder of your own templates and recorded prompts, in place of the shipped ones."""
    cache: BesideFile = Path("cache/prompts")
    """The folder of rendered prompts, by content hash; may be emptied at any time."""


class Log(Node):
    """What the processes write to stderr. Consent events go to the ledger, not here."""

    level: LogLevel = LogLevel.INFO
    """The least important lines that are written: debug, info, warning or error."""
    format: LogFormat = LogFormat.TEXT
    """text for people, json for a collector."""
    personal: LogPersonal = LogPersonal.MASKED
    """masked: numbers, addresses and Call-IDs are taken out of lines; clear: they stay, for tests without strangers."""
