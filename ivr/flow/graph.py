# SPDX-License-Identifier: GPL-3.0-or-later
"""A flow as a Mermaid flowchart: sections as boxes, ways between them as arrows."""

from ivr.consent.policy import Mode
from ivr.flow.consent_step import Consent
from ivr.flow.edges import edges
from ivr.flow.model import Flow, Step, verb_of
from ivr.flow.verbs import Bridge


def mermaid(flow: Flow) -> str:
    """The chart's text; it ends with a newline."""
    ids = {section: f"s{number}" for number, section in enumerate(flow.sections)}
    lines = ["flowchart TD", f'  call(["{", ".join(flow.numbers)}"]) --> {ids[flow.start]}']
    for section, steps in flow.sections.items():
        words = "<br/>".join([f"<b>{section}</b>", *(_words(step) for step in steps)])
        lines.append(f'  {ids[section]}["{words}"]')
        for step in steps:
            lines += [f'  {ids[section]} -->|"{edge.label}"| {ids[edge.section]}' for edge in edges(step)]
    return "\n".join(lines) + "\n"


def _words(step: Step) -> str:
    match step:
        case Consent(mode=Mode.NEVER):
            return "consent: never recorded"
        case Consent():
            return f"consent: {step.mode}, {step.lawful_basis}"
        case Bridge():
            return f"bridge, record: {step.record}"
        case _:
            return verb_of(step)
