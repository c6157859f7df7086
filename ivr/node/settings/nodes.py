# SPDX-License-Identifier: GPL-3.0-or-later
"""`nodes`: the servers that one operator or auditor looks after together. Each is a folder with its own settings."""

from pydantic import field_validator

from ivr.flow.values import BesideFile, Name
from ivr.flow.yamlfile import Node, rule_error
from ivr.ledger.note import NoteError, VKey


class NodeFolder(Node):
    """One node: a server with its own log, ledger and recordings, as `--all-nodes` reaches it from here."""

    name: Name
    """What it is called in what commands print."""
    folder: BesideFile
    """Its folder, mounted here, or one made here with a server.yaml that says how to reach its log, recordings and
    ledger socket, and its public keys."""
    key: str | None = None
    """The verifier key that you were given for its log; the log must be this one. Default: the one in its folder."""

    @field_validator("key")
    @classmethod
    def _readable(cls, text: str | None) -> str | None:
        if text is not None:
            try:
                VKey.parse(text)
            except NoteError as error:
                raise rule_error(
                    f"this is no verifier key: {error}", "name+hash+base64, as `ivr init` prints it"
                ) from None
        return text


def alike(nodes: tuple[NodeFolder, ...]) -> list[tuple[int, str, str]]:
    """What two nodes share that must be each one's own: (index of the later one, key of server.yaml, what)."""
    found = []
    for index, node in enumerate(nodes):
        for earlier in nodes[:index]:
            for key in ("name", "folder", "key"):
                value = getattr(node, key)
                if value is not None and value == getattr(earlier, key):
                    found.append((index, key, f"{value} is {earlier.name}'s already"))
    return found
