# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr log verify --all-nodes`: every node's log, what two of them must not share, one verdict each and one in all."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import click

from ivr.audit.findings import Check, Finding
from ivr.audit.nodes import SeveralLogs
from ivr.cli.all_nodes import TROUBLE, listed
from ivr.cli.exits import Exit
from ivr.cli.log import CouldNotRun, told
from ivr.cli.log_checked import Checked, Outside, check, facts, opened, words
from ivr.ledger.keyring import KeyRing
from ivr.ledger.note import VKey
from ivr.node.settings import NodeFolder, Settings


@dataclass(slots=True)
class _Verdicts:
    """By node: the verdict, or why there is none. `common` is what two of them share."""

    checked: dict[str, Checked] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    common: list[Finding] = field(default_factory=list)

    @property
    def found(self) -> bool:
        return bool(self.common) or any(one.found for one in self.checked.values())


def verify_nodes(folder: Path, outside: Outside, as_json: bool) -> None:
    """Check all, print, and end with the exit code: 1 when something does not hold, 3 when a log was not reached."""
    with told():
        verdicts = _verdicts(listed(folder), outside)
    if as_json:
        click.echo(json.dumps(_facts(verdicts)))
    else:
        click.echo("\n".join(_words(verdicts)))
    if verdicts.found:
        raise click.exceptions.Exit(Exit.CHECK_FAILED)
    if verdicts.missing:
        raise click.exceptions.Exit(Exit.INCOMPLETE if verdicts.checked else Exit.COULD_NOT_RUN)


def _verdicts(nodes: Sequence[NodeFolder], outside: Outside) -> _Verdicts:
    verdicts, several, left = _Verdicts(), SeveralLogs(), {path: _origin(path) for path in outside.kept}
    for node in nodes:
        try:
            verdicts.checked[node.name] = _one(node, outside, several, left)
        except TROUBLE as error:
            verdicts.missing[node.name] = str(error)
    if left and not verdicts.missing:
        path, origin = next(iter(left.items()))
        raise CouldNotRun(f"{path} is a checkpoint of the log {origin}, which no node has")
    verdicts.common = several.findings
    return verdicts


def _one(node: NodeFolder, outside: Outside, several: SeveralLogs, left: dict[Path, str]) -> Checked:
    source, key, files = opened(node.folder, None, None, node.key, None)
    ring = KeyRing.read(Settings.load(node.folder).keys.ledger_public)
    mine = [path for path, origin in left.items() if origin == key.name]
    checked = check(replace(outside, kept=mine), source, key, files, node.folder, several.calls_of(node.name))
    several.has(node.name, list(dict.fromkeys([key, *ring.keys])))
    for path in mine:
        del left[path]
    return replace(checked, found=[*checked.found, *_configured(key, ring)])


def _configured(key: VKey, ring: KeyRing) -> list[Finding]:
    """Whether the folder says the same as `nodes` does. What the log itself says, its verification tells."""
    if key in ring.keys:
        return []
    return [Finding(Check.KEY, f"the key that is configured for it is none of its ledger.vkey: {key}")]


def _origin(path: Path) -> str:
    """The log that a checkpoint is of (C2SP tlog-checkpoint: its first line)."""
    return path.read_text("utf-8").partition("\n")[0]


def _facts(verdicts: _Verdicts) -> dict[str, object]:
    return {
        "holds": not verdicts.found and not verdicts.missing,
        "complete": not verdicts.missing,
        "nodes": {name: facts(one) for name, one in verdicts.checked.items()},
        "missing": verdicts.missing,
        "findings": [finding.as_json() for finding in verdicts.common],
    }


def _words(verdicts: _Verdicts) -> list[str]:
    lines = [f"{name}: {line}" for name, one in verdicts.checked.items() for line in words(one)]
    lines += [f"{name}: NOT REACHED: {why}" for name, why in verdicts.missing.items()]
    lines += map(str, verdicts.common)
    reports = [one.report for one in verdicts.checked.values()]
    what = f"{len(reports)} logs, {sum(r.events for r in reports)} events of {sum(r.calls for r in reports)} calls"
    if verdicts.found:
        said = "DO NOT ALL HOLD"
    elif verdicts.missing:
        said = "INCOMPLETE"
    else:
        said = "ALL HOLD"
    away = f"; not reached: {', '.join(verdicts.missing)}" if verdicts.missing else ""
    return [*lines, f"{said}. {what}{away}"]
