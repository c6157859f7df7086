# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server reads at its start: settings, texts and flows, each with the hash under which the log names it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ivr.flow.library import Library
from ivr.flow.load import FlowSet, load_flows
from ivr.flow.model import Flow
from ivr.flow.prompts import Prompts, RenderReport, needed_prompts, prompt_mistakes, render_all
from ivr.node.settings import FILE, Settings
from media.cache import PromptCache
from media.tts import ESPEAK_VOICES, EspeakNg

CALL_RATE = 8_000
"""Samples a second of the conference bridge: that of G.711. G.722 is resampled."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A server's configuration, checked as a whole."""

    settings: Settings
    flows: FlowSet
    library: Library
    settings_sha256: str

    @property
    def prompts(self) -> Prompts:
        """Resolves what is to be said."""
        return Prompts(self.library)

    @property
    def cache(self) -> PromptCache:
        """The rendered prompts."""
        return PromptCache(self.settings.prompts.cache)

    def flow_hash(self, flow: Flow) -> str:
        """`sha256:` and the hash of the file that the flow is in."""
        return _hash(flow.source.file)

    def flow_hashes(self) -> dict[str, str]:
        """Every flow's name and hash, for `policy.adopted`."""
        return {flow.name: self.flow_hash(flow) for flow in self.flows.flows}

    def render(self) -> RenderReport:
        """Makes every prompt that a call could hear, at the calls' rate."""
        engine = EspeakNg(voices={**ESPEAK_VOICES, **self.settings.prompts.voices})
        specs = needed_prompts(self.flows.flows, self.library)
        return render_all(specs, self.cache, engine, rates=(CALL_RATE,))


def load(folder: Path) -> Loaded:
    """Raises FileError with every mistake of every file."""
    settings = Settings.load(folder)
    own = [settings.prompts.folder] if settings.prompts.folder else []
    library = Library.load(*own)
    flows = load_flows([settings.flows], checks=[lambda flow: prompt_mistakes(flow, library)])
    return Loaded(settings, flows, library, _hash(settings.folder / FILE))


def _hash(file: Path) -> str:
    return "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()
