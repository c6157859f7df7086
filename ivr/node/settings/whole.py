# SPDX-License-Identifier: GPL-3.0-or-later
"""server.yaml as a whole: its groups, and the rules between them."""

from pathlib import Path
from typing import Any, Self

from pydantic import Field, PrivateAttr, model_validator

from ivr.flow.place import FileError, Mistake, Place
from ivr.flow.values import BesideFile
from ivr.flow.yamlfile import Node, Rules, load_model
from ivr.ledger.keeping import PersonalSettings
from ivr.node.settings.edge import Edge, edge_fits
from ivr.node.settings.groups import (
    Anchors,
    KeyFiles,
    Ledger,
    Limits,
    Log,
    Media,
    Prompts,
    Retention,
    Rights,
    Sip,
    Storage,
)
from ivr.node.settings.nodes import NodeFolder, alike
from ivr.node.settings.observe import Metrics
from ivr.node.settings.pool import Pool, ports_fit

FILE = "server.yaml"


class Settings(Node):
    """A server's settings. Every path is read from the folder of server.yaml."""

    sip: Sip = Field(default_factory=Sip)
    """How calls reach this server."""
    media: Media = Field(default_factory=Media)
    """How audio reaches this server."""
    limits: Limits = Field(default_factory=Limits)
    """How much, and how long."""
    pool: Pool = Field(default_factory=Pool)
    """How many workers, or how the pool of workers behaves."""
    edge: Edge = Field(default_factory=Edge)
    """The SIP proxy before the workers; used when there can be more than one."""
    ledger: Ledger = Field(default_factory=Ledger)
    """The process that signs and stores events."""
    storage: Storage = Field(default_factory=Storage)
    """Where the log and the recordings are."""
    keys: KeyFiles = Field(default_factory=KeyFiles)
    """The key files."""
    retention: Retention = Field(default_factory=Retention)
    """How long what is kept."""
    anchors: Anchors = Field(default_factory=Anchors)
    """Who outside stamps or cosigns checkpoints."""
    rights: Rights = Field(default_factory=Rights)
    """Requests of the people who were recorded."""
    prompts: Prompts = Field(default_factory=Prompts)
    """How notices and prompts are spoken."""
    flows: BesideFile = Path("flows")
    """The folder of flow files, or one such file."""
    metrics: Metrics = Field(default_factory=Metrics)
    """The HTTP endpoint for monitoring."""
    log: Log = Field(default_factory=Log)
    """What the processes write to stderr."""
    nodes: tuple[NodeFolder, ...] = ()
    """The servers that commands with `--all-nodes` are about: on the machine where an operator or auditor works."""

    _folder: Path = PrivateAttr(default=Path())

    @property
    def folder(self) -> Path:
        """The folder of server.yaml."""
        return self._folder

    @property
    def personal(self) -> PersonalSettings:
        """What the ledger needs to keep personal fields, and to let them go."""
        days = {"personal": self.retention.personal.days, "evidence": self.retention.evidence.days}
        return PersonalSettings(self.storage.subjects, self.rights.region, days)

    @model_validator(mode="before")
    @classmethod
    def _whole(cls, value: Any) -> Any:
        # Groups that are left out or empty are read as empty mappings, so that their default paths find the folder.
        if value is None:
            value = {}
        if not isinstance(value, dict):
            return value
        groups = [name for name, field in cls.model_fields.items() if field.default_factory is not None]
        return {**value, **{name: {} for name in groups if value.get(name) is None}}

    @model_validator(mode="after")
    def _rules(self) -> Self:
        rules = Rules()
        first, last = self.media.port, self.media.port + self.media.port_range - 1
        if first <= self.sip.port <= last and self.sip.port != 0:
            rules.refuse(("sip", "port"), f"port {self.sip.port} is inside the RTP ports {first} to {last}", "another")
        if self.media.port_range < 4 * self.limits.calls:
            what = f"{self.media.port_range} ports are too few for {self.limits.calls} bridged calls"
            rules.refuse(("media", "port_range"), what, f"at least {4 * self.limits.calls}")
        for index, key, what in alike(self.nodes):
            rules.refuse(("nodes", index, key), what, "each node one of its own")
        ports_fit(rules, self.pool, self.sip.port, first, self.media.port_range)
        if self.pool.edge or self.edge.nodes:
            workers = range(self.pool.sip_port, self.pool.sip_port + self.pool.max)
            edge_fits(rules, self.edge, (self.sip.address, self.sip.port), workers)
        rules.done("Settings")
        return self

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The settings in `folder`/server.yaml, with absolute paths. Raises FileError with every mistake."""
        file = folder.absolute() / FILE
        if not file.is_file():
            what = "there is no such file: this folder holds no server"
            raise FileError([Mistake(Place(file, 1, 1), what, f"ivr init {folder}")])
        settings, _ = load_model(file, cls)
        settings._folder = file.parent
        return settings
