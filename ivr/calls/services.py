# SPDX-License-Identifier: GPL-3.0-or-later
"""What every call of a worker shares. Made once by the worker, never changed while calls run."""

from dataclasses import dataclass, field

from ivr.calls.drains import Drains
from ivr.calls.mediatally import MediaTally
from ivr.flow.load import FlowSet
from ivr.flow.prompts import Prompts, PromptSpec
from ivr.ledger.client import LedgerClient
from ivr.ledger.keyring import CurrentKey
from ivr.sip.endpoint import Endpoint
from ivr.vault.store import RecordingStore
from media.audio import AudioError
from media.cache import PromptCache, PromptFile


class PromptUnavailable(Exception):
    """A prompt is not rendered, or its file is no longer what was rendered."""


@dataclass(frozen=True, slots=True)
class Services:
    """`rate` is that of the conference bridge, in samples a second; prompts and recordings have it too."""

    endpoint: Endpoint
    ledger: LedgerClient
    vkey: CurrentKey
    store: RecordingStore
    flows: FlowSet
    prompts: Prompts
    cache: PromptCache
    worker: str
    rate: int
    permit_timeout_ms: int
    max_call_ms: int
    media_timeout_ms: int
    info_keys: bool
    inband_keys: bool
    media: MediaTally = field(default_factory=MediaTally)
    drains: Drains = field(default_factory=Drains)

    def file(self, spec: PromptSpec) -> PromptFile:
        """The rendered file of a prompt, verified against its manifest. Raises PromptUnavailable."""
        try:
            found = self.cache.find(spec.source, self.rate)
        except AudioError as error:
            raise PromptUnavailable(f"{spec.name}: {error}") from error
        if found is None:
            raise PromptUnavailable(f"{spec.name} in {spec.language} is not rendered: run `ivr prompts render`")
        return found
