# SPDX-License-Identifier: GPL-3.0-or-later
"""Flow files into a `FlowSet`: every file read, every name checked, every way proven, every number in one flow."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ivr.flow.consent_step import Consent
from ivr.flow.edges import edges
from ivr.flow.model import DEFAULT, Flow, FlowFile, Step
from ivr.flow.place import FileError, Mistake, Place, nearest, one_of
from ivr.flow.proof import prove
from ivr.flow.spoken import Prompt
from ivr.flow.values import LocalText
from ivr.flow.verbs import Hangup, Menu, Play
from ivr.flow.yamlfile import load_model

Check = Callable[[Flow], Iterable[Mistake]]
"""A further check of a flow that is right in itself, such as whether every prompt exists."""


@dataclass(frozen=True, slots=True)
class FlowSet:
    """Every flow of a server. `flow_for` finds the one for a dialled number."""

    flows: tuple[Flow, ...]
    _exact: dict[str, Flow] = field(default_factory=dict, repr=False)
    _prefixes: tuple[tuple[str, Flow], ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, flows: Sequence[Flow]) -> "FlowSet":
        """Flows whose numbers differ."""
        by_number = {number: flow for flow in flows for number in flow.numbers}
        prefixes = [(number[:-1], flow) for number, flow in by_number.items() if number.endswith("*")]
        exact = {number: flow for number, flow in by_number.items() if not number.endswith("*")}
        return cls(tuple(flows), exact, tuple(sorted(prefixes, key=lambda item: -len(item[0]))))

    def flow_for(self, user: str) -> Flow | None:
        """The flow for a dialled user part: exact, else the longest prefix, else default, else None."""
        if user in self._exact and user != DEFAULT:
            return self._exact[user]
        for prefix, flow in self._prefixes:
            if user.startswith(prefix):
                return flow
        return self._exact.get(DEFAULT)

    def named(self, name: str) -> Flow:
        """The flow of that name. Raises KeyError."""
        for flow in self.flows:
            if flow.name == name:
                return flow
        raise KeyError(name)


def load_flows(paths: Iterable[Path], *, checks: Sequence[Check] = ()) -> FlowSet:
    """Every flow of these files and folders (their *.yaml). Raises FileError with the mistakes of all of them."""
    flows: list[Flow] = []
    mistakes: list[Mistake] = []
    for file in _files(paths, mistakes):
        try:
            model, source = load_model(file, FlowFile)
        except FileError as error:
            mistakes += error.mistakes
            continue
        flows += [Flow.of(name, spec, source) for name, spec in model.flows.items()]
    mistakes += _twice(flows)
    for flow in flows:
        mistakes += check_flow(flow, checks)
    if mistakes:
        raise FileError(mistakes)
    return FlowSet.of(flows)


def check_flow(flow: Flow, checks: Sequence[Check] = ()) -> list[Mistake]:
    """What is wrong in one flow of the right shape. Ways are walked only once every section name exists."""
    names = list(_names(flow))
    found = [*names, *_texts(flow), *_sound_files(flow)]
    if not names:
        found += prove(flow)
    known = {mistake.place for mistake in found}
    for check in checks:
        found += [mistake for mistake in check(flow) if mistake.place not in known]
    return found


def _files(paths: Iterable[Path], mistakes: list[Mistake]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        inside = sorted([*path.glob("*.yaml"), *path.glob("*.yml")])
        if not inside:
            mistakes.append(Mistake(Place(path, 1, 1), "no flow is in this folder", "at least one *.yaml file"))
        yield from inside


def _twice(flows: Sequence[Flow]) -> Iterator[Mistake]:
    """Numbers and names that two flows claim, told at the second one with the place of the first."""
    numbers: dict[str, tuple[Flow, Place]] = {}
    names: dict[str, Place] = {}
    for flow in flows:
        at = flow.place(key=True)
        if flow.name in names:
            yield Mistake(at, f"flow `{flow.name}` is already at {names[flow.name]}", "each flow name once")
        names.setdefault(flow.name, at)
        for index, number in enumerate(flow.numbers):
            place = flow.place("numbers", index)
            if number in numbers:
                other, first = numbers[number]
                what = f"number {number!r} already belongs to flow `{other.name}` at {first}"
                yield Mistake(place, what, "each number in one flow")
            numbers.setdefault(number, (flow, place))


def _names(flow: Flow) -> Iterator[Mistake]:
    sections = list(flow.sections)
    if flow.start not in sections:
        near = nearest(flow.start, sections)
        yield Mistake(flow.place("start"), f"there is no section `{flow.start}`", one_of(sections), near)
    for path, step in _steps(flow):
        for edge in edges(step):
            if edge.section not in sections:
                near = nearest(edge.section, sections)
                place = flow.place(*path, *edge.path)
                yield Mistake(place, f"there is no section `{edge.section}`", one_of(sections), near)


def _texts(flow: Flow) -> Iterator[Mistake]:
    """Text by language that lacks the flow's own language."""
    for path, step in _steps(flow):
        texts = [(at, text) for at, text in _local_texts(step) if text is not None]
        for at, text in texts:
            if text.get(flow.language) is None:
                given = one_of(language for language, _ in text.by_language)
                what = f"this has no text in the flow's language {flow.language!r}, only in {given}"
                yield Mistake(flow.place(*path, *at, key=True), what, f"text under {flow.language}:")
        if isinstance(step, Consent) and step.notice is not None and step.notice.get(flow.language) is None:
            what = f"there is no recorded notice in the flow's language {flow.language!r}"
            yield Mistake(flow.place(*path, "notice", key=True), what, f"file and transcript under {flow.language}:")


def _local_texts(step: Step) -> Iterator[tuple[tuple[str | int, ...], LocalText | None]]:
    for at, prompt in prompts(step):
        yield (*at, "text"), prompt.text
        yield (*at, "transcript"), prompt.transcript
    if isinstance(step, Consent):
        yield ("controller",), step.controller
        yield ("storage", "place"), step.storage.place if step.storage else None
        for name, terms in (("purposes", step.purposes), ("access", step.access)):
            for index, term in enumerate(terms):
                yield (name, index), term.phrases


def prompts(step: Step) -> Iterator[tuple[tuple[str, ...], Prompt]]:
    """The prompts of a step, each with its path below the step's settings."""
    match step:
        case Play():
            yield (), step
        case Menu():
            yield ("prompt",), step.prompt
            if step.invalid is not None:
                yield ("invalid",), step.invalid
        case Hangup(prompt=Prompt() as prompt):
            yield ("prompt",), prompt


def _sound_files(flow: Flow) -> Iterator[Mistake]:
    for path, step in _steps(flow):
        files = [((*at, "file"), prompt.file) for at, prompt in prompts(step)]
        if isinstance(step, Consent) and step.notice is not None:
            files += [(("notice", language, "file"), n.file) for language, n in step.notice.root.items()]
        for at, file in files:
            if file is not None and not file.is_file():
                yield Mistake(flow.place(*path, *at), f"there is no file {file}", "a sound file beside this flow file")


def _steps(flow: Flow) -> Iterator[tuple[tuple[str | int, ...], Step]]:
    for section, steps in flow.sections.items():
        for index, step in enumerate(steps):
            yield flow.step_path(section, index), step
