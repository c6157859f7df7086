# SPDX-License-Identifier: GPL-3.0-or-later
"""Walks every way through a flow and refuses what could surprise a caller.

Above all: no way may reach a bridge that records without a consent step, with its complete notice and decision,
on that way (PRODUCT.md, promises 1 and 2). At run time the machine enforces it again; here the operator is told
before any caller is.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from ivr.consent.policy import Mode
from ivr.flow.consent_step import Consent
from ivr.flow.edges import At, Edge, ends_section, ways
from ivr.flow.model import Flow, Step, verb_of
from ivr.flow.place import Mistake
from ivr.flow.verbs import Bridge, Menu, Record


@dataclass(frozen=True, slots=True)
class _Visit:
    """A step reached with a consent step behind it, or none."""

    at: At
    consent: At | None


_Trail = dict[_Visit, tuple[_Visit, Edge | None] | None]


def prove(flow: Flow) -> list[Mistake]:
    """Every mistake in the ways through a flow whose section names all exist; nothing means that it is proven."""
    trail, mistakes = _walk(flow)
    reached = {visit.at for visit in trail}
    return [*mistakes, *_never_reached(flow, reached), *_open_ends(flow), *_endless(flow)]


def _walk(flow: Flow) -> tuple[_Trail, list[Mistake]]:
    """Breadth first, so that the way printed for a mistake is the shortest one."""
    first = _Visit(At(flow.start, 0), None)
    trail: _Trail = {first: None}
    found: dict[tuple[At, str], Mistake] = {}
    waiting = deque([first])
    while waiting:
        visit = waiting.popleft()
        for mistake in _judge(flow, visit, trail):
            found.setdefault((visit.at, mistake.what), mistake)
        consent = visit.consent
        if consent is None and isinstance(_step(flow, visit.at), Consent):
            consent = visit.at
        for edge, at in ways(flow, visit.at):
            following = _Visit(at, consent)
            if following not in trail:
                trail[following] = (visit, edge)
                waiting.append(following)
    return trail, list(found.values())


def _judge(flow: Flow, visit: _Visit, trail: _Trail) -> Iterator[Mistake]:
    step = _step(flow, visit.at)
    place = flow.place(*flow.step_path(visit.at.section, visit.at.index), key=True)
    consent = _consent(flow, visit.consent)
    way = way_lines(flow, _way(visit, trail))
    if isinstance(step, Consent) and visit.consent is not None:
        yield Mistake(place, "a second consent step on one way: a call decides once", "one on every way", path=way)
    if isinstance(step, Bridge) and step.record is Record.CONSENT:
        if consent is None:
            what = "a bridge that may be recorded is reached without a consent step: no notice, no decision"
            yield Mistake(place, what, "a consent step before it on this way, or record: never", path=way)
        elif consent.mode is Mode.NEVER:
            what = "a bridge that may be recorded is reached with a consent step of mode never: no notice is played"
            yield Mistake(place, what, "record: never, or another mode", path=way)
    if isinstance(step, Menu) and consent is not None:
        for key in sorted(consent.live_keys & set(step.keys)):
            where = flow.place(*flow.step_path(visit.at.section, visit.at.index), "keys", key, key=True)
            what = f"key {key!r} of this menu also refuses or withdraws: a caller could not tell which"
            yield Mistake(where, what, "a key that the consent step before it does not use", path=way)


def _way(visit: _Visit, trail: _Trail) -> list[tuple[At, Edge | None]]:
    """The steps up to `visit`, each with the edge by which it was left (None: to the next step)."""
    way: list[tuple[At, Edge | None]] = [(visit.at, None)]
    before = trail[visit]
    while before is not None:
        way.append((before[0].at, before[1]))
        before = trail[before[0]]
    return way[::-1]


def way_lines(flow: Flow, way: list[tuple[At, Edge | None]]) -> tuple[str, ...]:
    """A way as lines to print: place, section, verb, and how the step is left."""
    lines = []
    for at, edge in way:
        place = flow.place(*flow.step_path(at.section, at.index), key=True)
        left = f" → {edge.label}: {edge.section}" if edge else ""
        lines.append(f"{place.file}:{place.line}: {at.section}: {verb_of(_step(flow, at))}{left}")
    return tuple(lines)


def _never_reached(flow: Flow, reached: set[At]) -> Iterator[Mistake]:
    sections = {at.section for at in reached}
    for section, steps in flow.sections.items():
        if section not in sections:
            place = flow.place("sections", section, key=True)
            yield Mistake(place, f"section `{section}` is never reached", "a step that names it, or its removal")
            continue
        for index in range(1, len(steps)):
            if ends_section(steps[index - 1]):
                place = flow.place(*flow.step_path(section, index), key=True)
                what = f"this step is never reached: the {verb_of(steps[index - 1])} before it ends the section"
                yield Mistake(place, what, "nothing after a hangup, goto or menu")
                break


def _open_ends(flow: Flow) -> Iterator[Mistake]:
    for section, steps in flow.sections.items():
        if not ends_section(steps[-1]):
            place = flow.place(*flow.step_path(section, len(steps) - 1), key=True)
            what = f"section `{section}` ends after this {verb_of(steps[-1])}, and the call has nowhere to go"
            yield Mistake(place, what, "hangup, goto or menu as the last step")


def _endless(flow: Flow) -> Iterator[Mistake]:
    """Circles that go round without anybody pressing a key: a silent line would be held for ever."""
    done: set[At] = set()
    for section, steps in flow.sections.items():
        for index in range(len(steps)):
            circle = _circle(flow, At(section, index), done)
            if circle:
                at = circle[0][0]
                place = flow.place(*flow.step_path(at.section, at.index), key=True)
                what = "these steps go round for ever without a key press"
                yield Mistake(place, what, "a way out towards hangup", path=way_lines(flow, circle))


def _circle(flow: Flow, first: At, done: set[At]) -> list[tuple[At, Edge | None]]:
    """A circle reachable from `first` without a key press, as a way; empty when there is none."""
    stack = [(first, _unpressed(flow, first))]
    way: list[tuple[At, Edge | None]] = []
    while stack:
        at, onward = stack[-1]
        if at in done:
            stack.pop()
            continue
        edge, following = next(onward, (None, None))
        if following is None:
            done.add(at)
            stack.pop()
            way = way[:-1]
            continue
        on_way = [node for node, _ in stack]
        if following in on_way:
            done.update(on_way)
            return [*way, (at, edge)][on_way.index(following) :]
        if following not in done:
            way.append((at, edge))
            stack.append((following, _unpressed(flow, following)))
    return []


def _unpressed(flow: Flow, at: At) -> Iterator[tuple[Edge | None, At]]:
    return ((edge, following) for edge, following in ways(flow, at) if edge is None or not edge.by_key)


def _step(flow: Flow, at: At) -> Step:
    return flow.sections[at.section][at.index]


def _consent(flow: Flow, at: At | None) -> Consent | None:
    step = _step(flow, at) if at else None
    return step if isinstance(step, Consent) else None
