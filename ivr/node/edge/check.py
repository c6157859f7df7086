# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with an edge before it runs: our own rules, then Kamailio's own reading of the generated files."""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ivr.node.edge.files import write_all
from ivr.node.edge.model import EdgePlan, is_address
from ivr.node.edge.render import CFG, render
from ivr.node.edge.run import AS_JSON, EdgeError, command, kamailio, user_for
from ivr.node.edge.tlsfiles import TlsFileError
from ivr.node.settings.edge import EdgeTransport

CHECK_S = 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that keeps the edge from working: where it is set, what is wrong, what to do."""

    at: str
    what: str
    do: str

    def __str__(self) -> str:
        return f"{self.at}: {self.what}; {self.do}"


def check(plan: EdgePlan) -> list[Finding]:
    """Everything that was found; nothing is left on disk."""
    found = [*_callers(plan), *_targets(plan), *_expressions(plan)]
    try:
        user_for(plan.user)
    except EdgeError as error:
        found.append(Finding("edge.user", str(error), "see the message"))
    found += _kamailio(plan)
    return found


def _callers(plan: EdgePlan) -> Iterator[Finding]:
    if not any(trunk.sources for trunk in plan.trunks):
        yield Finding("edge.trunks", "no trunk has sources: nobody could call", "name who may, with its addresses")
    if not plan.places:
        yield Finding("pool.max", "there is no worker and no node", "a pool, or edge.nodes")


def _targets(plan: EdgePlan) -> Iterator[Finding]:
    for target in plan.targets:
        if is_address(target.host) is None:
            what = f"it rings {target.host}, which is neither an address nor a trunk: the edge looks up no names"
            yield Finding(f"flow {target.flow}", what, "an address, or the name of a trunk that has hosts")
        elif target.transport not in plan.uses:
            what = f"it rings {target.host} over {target.transport}, which the edge does not listen on"
            yield Finding(f"flow {target.flow}", what, "another transport, or one more in edge.listen")
        elif not any(s.transport is target.transport and s.is_ipv6 == (":" in target.host) for s in plan.sockets):
            what = f"it rings {target.host}, and the edge listens on no address of that family"
            yield Finding(f"flow {target.flow}", what, "one more entry in edge.listen")
        elif target.transport is EdgeTransport.TLS and (plan.tls is None or plan.tls.trust is None):
            what = f"it rings {target.host} over TLS, whose certificate nothing could check"
            yield Finding(f"flow {target.flow}", what, "edge.tls.trust")


def _expressions(plan: EdgePlan) -> Iterator[Finding]:
    """POSIX expressions have no (?…): Kamailio's own check lets them pass, and then does not start."""
    for line in render(plan)[CFG].splitlines():
        for pattern in re.findall(r'=~ *"([^"]*)"', line):
            if "(?" in pattern or "\\d" in pattern:
                yield Finding(
                    CFG, f"the expression {pattern!r} is not POSIX", "this is a bug of ours: please report it"
                )


def _kamailio(plan: EdgePlan) -> Iterator[Finding]:
    with tempfile.TemporaryDirectory(prefix="assent-edge-") as folder:
        place = replace(plan, folder=Path(folder))
        try:
            program = kamailio()
            write_all(place)
        except (EdgeError, TlsFileError) as error:
            at = "kamailio" if isinstance(error, EdgeError) else "edge.tls"
            yield Finding(at, str(error), "see the message")
            return
        line = [part for part in command(place, program) if part not in ("-DD", "-E", AS_JSON)]
        done = subprocess.run([*line, "-c"], cwd=folder, capture_output=True, text=True, timeout=CHECK_S, check=False)
    if done.returncode:
        said = [text for text in done.stderr.splitlines() if "ERROR" in text or "CRITICAL" in text]
        yield Finding(CFG, "\n".join(said) or done.stderr[-2000:], "this may be a bug of ours: please report it")
