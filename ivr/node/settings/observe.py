# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP endpoint for monitoring."""

from typing import Annotated

from annotated_types import Ge, Le

from ivr.flow.duration import Duration
from ivr.flow.yamlfile import Node
from ivr.node.settings.values import Ipv4


class Metrics(Node):
    """Where Prometheus and probes ask: /metrics, /healthz and /readyz over HTTP. Nothing personal is served."""

    address: Ipv4 = "127.0.0.1"
    """The address that the endpoint listens on. It has no password: never one that strangers can reach."""
    port: Annotated[int, Ge(0), Le(65535)] = 9464
    """The port that the endpoint listens on; 0 for no endpoint."""
    watch_interval: Duration = Duration(300_000)
    """How often log and files are looked at for the alarms of `ivr log watch`; 0s for never."""
