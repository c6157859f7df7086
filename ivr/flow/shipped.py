# SPDX-License-Identifier: GPL-3.0-or-later
"""The shipped prompt texts: their manifest of hashes, and examples of every notice to render and measure.

The manifest tells an operator that the texts of an installation are those of its release; it is no signature.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from ivr.consent.policy import Mode, OnWithdraw
from ivr.flow.duration import Period
from ivr.flow.library import Library
from ivr.flow.notice import NoticeFacts, render_notice
from ivr.flow.prompts import Kind, Prompts, PromptSpec
from ivr.flow.values import Term
from media.cache import Spoken

MANIFEST = "manifest.json"


def manifest_text(folder: Path) -> str:
    """What `manifest.json` of a prompt folder must hold: the SHA-256 of every text file, by its path."""
    files = {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.glob("*/*.yaml")}
    return json.dumps({"v": 1, "files": files}, indent=1, sort_keys=True) + "\n"


def manifest_findings(folder: Path) -> list[str]:
    """How the texts differ from the manifest beside them: changed, missing and added files."""
    try:
        listed = json.loads((folder / MANIFEST).read_bytes())["files"]
        known = {str(name): str(digest) for name, digest in listed.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"{folder / MANIFEST}: no manifest of the texts can be read ({error}): install assent-ivr again"]
    here: dict[str, str] = json.loads(manifest_text(folder))["files"]
    findings = []
    for name in sorted({*known, *here}):
        path = folder / name
        if name not in here:
            findings.append(f"{path}: listed in the manifest, but not there")
        elif name not in known:
            findings.append(f"{path}: not listed in the manifest; your own texts belong in a folder of their own")
        elif known[name] != here[name]:
            findings.append(f"{path}: changed since the release; your own texts belong in a folder of their own")
    return findings


def example_prompts(library: Library, language: str) -> list[PromptSpec]:
    """Typical notices of every mode and all messages of a language."""
    said = NoticeFacts(
        language,
        Mode.REQUIRED,
        controller="Example",
        purposes=(Term("quality"), Term("training")),
        retention=Period(90, "day"),
        storage_place="Frankfurt",
        access=(Term("quality_team"),),
    )
    keyed = replace(said, withdraw_key="9", on_withdraw=OnWithdraw.ERASE)
    examples = [
        replace(keyed, mode=Mode.OPT_OUT, refuse_key="9"),
        replace(keyed, mode=Mode.OPT_IN, accept_key="1"),
        said,
        NoticeFacts(language, Mode.NEVER),
    ]
    template = library.template(language)
    specs = []
    for facts in examples:
        notice = render_notice(facts, template)
        specs.append(PromptSpec(Kind.NOTICE, f"notice {facts.mode}", Spoken(notice.text, language), notice))
    prompts = Prompts(library)
    return specs + [prompts.message(name, language) for name in library.messages[language]]
