# SPDX-License-Identifier: GPL-3.0-or-later
"""What a flow's prompts are: references resolved to sources that can be rendered, and the list of all that is needed.

`ivr serve` renders the whole list before it answers a call; a worker resolves in the same way and only reads.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ivr.flow.consent_step import Consent
from ivr.flow.library import REFERENCE_MESSAGES, REQUIRED_MESSAGES, Library, UnknownPrompt
from ivr.flow.model import Flow, Step
from ivr.flow.notice import NoticeError, NoticeText, facts_of, recorded_notice, render_notice
from ivr.flow.place import FileError, Mistake
from ivr.flow.spoken import Prompt
from ivr.flow.tones import RingBack
from ivr.flow.verbs import Bridge, Hangup, Menu, Play, Reference
from media.audio import AudioError
from media.cache import CALL_RATES, PromptCache, PromptFile, Recorded, Source, Spoken, Tone
from media.check import Finding, check
from media.tts import Engine, SpeaksOnce


class PromptError(LookupError):
    """A prompt that cannot be resolved: no such language, name or text."""


class Kind(StrEnum):
    """What a prompt is for."""

    NOTICE = "notice"
    MESSAGE = "message"
    FLOW = "flow"
    TONE = "tone"


@dataclass(frozen=True, slots=True)
class PromptSpec:
    """One prompt to render or find. `name` tells a person where it comes from; a notice carries its facts."""

    kind: Kind
    name: str
    source: Source
    notice: NoticeText | None = None

    @property
    def language(self) -> str:
        return self.source.language

    @property
    def text(self) -> str:
        return self.source.text


@dataclass(frozen=True, slots=True)
class Failure:
    """A prompt that could not be made, or is not good enough to play. `rate` in Hz."""

    spec: PromptSpec
    rate: int
    what: str


@dataclass(frozen=True, slots=True)
class RenderReport:
    """What `render_all` did. The cache is complete when `failures` is empty."""

    files: tuple[tuple[PromptSpec, PromptFile], ...]
    failures: tuple[Failure, ...]

    @property
    def complete(self) -> bool:
        return not self.failures


class Prompts:
    """Resolves what is to be said, in a language, with a library of texts. Pure."""

    def __init__(self, library: Library) -> None:
        self.library = library

    def notice(self, consent: Consent, language: str) -> PromptSpec:
        """The notice of a consent step, recorded or from the template. Raises NoticeError or PromptError."""
        try:
            template = self.library.template(language)
        except UnknownPrompt as error:
            raise PromptError(str(error)) from error
        facts = facts_of(consent, language)
        own = consent.notice.get(language) if consent.notice else None
        if own is None:
            text = render_notice(facts, template)
            return PromptSpec(Kind.NOTICE, f"notice {consent.mode}", Spoken(text.text, language), text)
        text = recorded_notice(facts, template, own.transcript)
        return PromptSpec(Kind.NOTICE, f"notice {consent.mode}", Recorded(own.file, text.text, language), text)

    def message(self, name: str, language: str) -> PromptSpec:
        """A message of the server by its name. Raises PromptError."""
        try:
            return PromptSpec(Kind.MESSAGE, name, Spoken(self.library.message(name, language), language))
        except UnknownPrompt as error:
            raise PromptError(str(error)) from error

    def prompt(self, given: Prompt, language: str, name: str = "prompt") -> PromptSpec:
        """What a flow says: text, a named prompt, or a recorded file. Raises PromptError."""
        if given.prompt is not None:
            return self.message(given.prompt, language)
        local = given.text if given.text is not None else given.transcript
        text = local.get(language) if local else None
        if text is None:
            raise PromptError(f"nothing to say in {language}: add a text or transcript in that language")
        if given.file is not None:
            return PromptSpec(Kind.FLOW, name, Recorded(given.file, text, language))
        return PromptSpec(Kind.FLOW, name, Spoken(text, language))

    def ring_back(self, choice: RingBack) -> PromptSpec | None:
        """The tone to loop while an agent's phone rings, or None for silence."""
        return None if choice is RingBack.NONE else self.tone(f"ringback:{choice}")

    def tone(self, name: str) -> PromptSpec:
        return PromptSpec(Kind.TONE, name, Tone(name))


def needed_prompts(flows: Iterable[Flow], library: Library) -> list[PromptSpec]:
    """Everything that calls through these flows can hear, each once, notices first.

    Raises FileError with a mistake for each reference that cannot be resolved, at its line.
    """
    prompts = Prompts(library)
    found: dict[Source, PromptSpec] = {}
    mistakes: list[Mistake] = []
    for flow in flows:
        specs, wrong = _of_flow(flow, prompts)
        mistakes.extend(wrong)
        for spec in specs:
            found.setdefault(spec.source, spec)
    if mistakes:
        raise FileError(mistakes)
    order = list(Kind)
    return sorted(found.values(), key=lambda spec: order.index(spec.kind))


def prompt_mistakes(flow: Flow, library: Library) -> list[Mistake]:
    """What of a flow cannot be said: for `ivr flow check`."""
    return _of_flow(flow, Prompts(library))[1]


def _of_flow(flow: Flow, prompts: Prompts) -> tuple[list[PromptSpec], list[Mistake]]:
    specs: list[PromptSpec] = []
    mistakes: list[Mistake] = []
    try:
        specs.extend(prompts.message(name, flow.language) for name in REQUIRED_MESSAGES)
    except PromptError as error:
        return [], [Mistake(flow.place("language"), str(error))]
    specs.append(prompts.tone("beep"))
    for section, steps in flow.sections.items():
        for index, step in enumerate(steps):
            path = flow.step_path(section, index)
            if isinstance(step, Consent):
                try:
                    specs.append(prompts.notice(step, flow.language))
                except NoticeError as error:
                    mistakes.extend(_notice_mistakes(flow, path, error))
            elif isinstance(step, Bridge):
                tone = prompts.ring_back(step.ring_back)
                specs.extend([tone] if tone else [])
            elif isinstance(step, Reference):
                try:
                    specs.extend(prompts.message(name, flow.language) for name in REFERENCE_MESSAGES)
                except PromptError as error:
                    mistakes.append(Mistake(flow.place(*path, key=True), str(error)))
            for key, given in _said(step):
                try:
                    specs.append(prompts.prompt(given, flow.language, f"{flow.name}.{section}.{index + 1}"))
                except PromptError as error:
                    mistakes.append(Mistake(flow.place(*path, *key), str(error)))
    return specs, mistakes


def _said(step: Step) -> Sequence[tuple[tuple[str, ...], Prompt]]:
    """The prompts of a step, each with its path below the step's settings."""
    match step:
        case Play():
            return [((), step)]
        case Menu():
            return [(("prompt",), step.prompt), *([(("invalid",), step.invalid)] if step.invalid else [])]
        case Hangup(prompt=Prompt() as given):
            return [(("prompt",), given)]
    return []


_SETTING = {"storage_place": ("storage", "place"), "place": ("storage", "place"), "withdrawn": ("on_withdraw",)}


def _notice_mistakes(flow: Flow, path: tuple[str | int, ...], error: NoticeError) -> list[Mistake]:
    mistakes = []
    for name, what in error.missing.items():
        head, _, index = name.partition(".")
        at: tuple[str | int, ...] = _SETTING.get(head, (head,))
        if head.endswith("_key"):
            at = ("keys", head.removesuffix("_key"))
        if "transcript" in what:
            at = ("notice",)
        mistakes.append(Mistake(flow.place(*path, *at, *([int(index)] if index else [])), what))
    return mistakes


def render_all(
    specs: Iterable[PromptSpec], cache: PromptCache, engine: Engine, rates: Sequence[int] = CALL_RATES
) -> RenderReport:
    """Every prompt at every rate into the cache, each measured: one that is cut short or silent is a failure too."""
    files: list[tuple[PromptSpec, PromptFile]] = []
    failures: list[Failure] = []
    once = SpeaksOnce(engine)
    for spec in specs:
        for rate in rates:
            try:
                file = cache.render(spec.source, rate, once)
                findings = findings_of(spec, file)
            except AudioError as error:
                failures.append(Failure(spec, rate, str(error)))
                continue
            files.append((spec, file))
            failures.extend(Failure(spec, rate, str(finding)) for finding in findings)
    return RenderReport(tuple(files), tuple(failures))


def findings_of(spec: PromptSpec, file: PromptFile) -> list[Finding]:
    """What is wrong with a rendered prompt. Tones have no speech to judge. Raises AudioError: unreadable."""
    return [] if spec.kind is Kind.TONE else check(file)
