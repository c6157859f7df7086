# SPDX-License-Identifier: GPL-3.0-or-later
"""storage.archive: where sealed recordings are moved to, from the disk of the machine that made them."""

from pathlib import Path
from typing import Annotated, Self

from annotated_types import Ge, MinLen
from pydantic import model_validator

from ivr.flow.duration import Duration
from ivr.flow.values import BesideFile
from ivr.flow.yamlfile import Node, Rules


class Archive(Node):
    """Where sealed recordings are moved to: a bucket or a folder that machines share. Nowhere unless named."""

    url: Annotated[str, MinLen(1)]
    """`s3://bucket/prefix`, or `file:///folder` of a shared file system. Each node writes below a name of its own."""
    endpoint: str | None = None
    """Where the store answers, such as https://s3.example.org. Default: Amazon's for the region."""
    region: str | None = None
    """The store's region. Default: the one that the store assumes."""
    credentials: BesideFile | None = None
    """A file as `aws configure` writes it, mode 0600. Default: AWS_ACCESS_KEY_ID and so on of the environment."""
    ca: BesideFile | None = None
    """The certificates (PEM) to check the endpoint's by. Default: those of the certifi package."""
    plain_http: bool = False
    """Whether the endpoint may be http://, at a private address. Audio is sealed anyway, but whoever is on the way
    could drop or replay requests."""
    folder: BesideFile = Path("data/archive")
    """The folder that knows what is where, and what must still be removed. Back it up with the recordings."""
    settle: Duration = Duration(120_000)
    """A segment stays on this disk for so long before it is moved."""
    keep: Duration = Duration(0)
    """How long it stays here after that too, for listening without the archive."""
    spool_max: Annotated[int, Ge(1)] = 10_000
    """When more than this waits on the disk, in megabytes, `ivr archive status` raises an alarm. Recording goes on
    until `min_free` is reached."""
    late: Duration = Duration(3_600_000)
    """When anything waits longer than this, recording or erasure, `ivr archive status` raises an alarm."""

    @model_validator(mode="after")
    def _rules(self) -> Self:
        rules = Rules()
        if not self.url.startswith(("s3://", "file:///")):
            rules.refuse("url", f"{self.url!r} is no archive", "s3://bucket/prefix or file:///folder")
        if self.settle.ms < 30_000:
            what = f"a withdrawal may still reach back into a segment after {self.settle}"
            rules.refuse("settle", what, "at least 30s")
        if self.endpoint is not None and not self.endpoint.startswith(("https://", "http://")):
            rules.refuse("endpoint", f"{self.endpoint!r} is no endpoint", "https://HOST[:PORT]")
        elif self.endpoint is not None and self.endpoint.startswith("http://") and not self.plain_http:
            rules.refuse("endpoint", "http is not encrypted", "https, or plain_http: true on a network of your own")
        rules.done("Archive")
        return self
