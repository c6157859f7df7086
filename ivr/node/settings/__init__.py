# SPDX-License-Identifier: GPL-3.0-or-later
"""server.yaml: every setting with its meaning, unit and default. docs/reference/settings.md is generated from this."""

from ivr.node.settings.archive import Archive
from ivr.node.settings.edge import Edge, EdgeTls, Inside, Listen, NodeEdge, Trunk
from ivr.node.settings.groups import (
    Anchors,
    Checkpoint,
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
    TimestampAuthority,
    WitnessService,
)
from ivr.node.settings.nodes import NodeFolder
from ivr.node.settings.observe import Metrics
from ivr.node.settings.pool import Pool
from ivr.node.settings.values import Codec, Ipv4, LogFormat, LogLevel, LogPersonal, Port, Region, Transport
from ivr.node.settings.whole import FILE, Settings

__all__ = [
    "FILE",
    "Anchors",
    "Archive",
    "Checkpoint",
    "Codec",
    "Edge",
    "EdgeTls",
    "Inside",
    "Ipv4",
    "KeyFiles",
    "Ledger",
    "Limits",
    "Listen",
    "Log",
    "LogFormat",
    "LogLevel",
    "LogPersonal",
    "Media",
    "Metrics",
    "NodeEdge",
    "NodeFolder",
    "Pool",
    "Port",
    "Prompts",
    "Region",
    "Retention",
    "Rights",
    "Settings",
    "Sip",
    "Storage",
    "TimestampAuthority",
    "Transport",
    "Trunk",
    "WitnessService",
]
