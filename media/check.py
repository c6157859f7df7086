# SPDX-License-Identifier: GPL-3.0-or-later
"""Is this prompt good enough to play: clipping, level, silence at the ends, and long enough for its words."""

from dataclasses import dataclass
from enum import StrEnum

from media.audio import read
from media.cache import PromptFile
from media.loudness import Loudness, measure

# Slower than a patient speaker and faster than a fast one: outside of it, words are missing or the text is not these.
SECONDS_A_LETTER = (0.030, 0.160)
_SLACK_SECONDS = 1.0


class Fault(StrEnum):
    """What can be wrong with a prompt."""

    SILENT = "silent"
    CLIPPED = "clipped"
    PEAK = "peak"
    LEVEL = "level"
    LEADING_SILENCE = "leading_silence"
    TRAILING_SILENCE = "trailing_silence"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault with its measure and the limit it broke, in `unit`."""

    fault: Fault
    measured: float
    limit: float
    unit: str

    def __str__(self) -> str:
        return f"{self.fault}: {self.measured:.2f} {self.unit}, limit {self.limit:.2f} {self.unit}"


@dataclass(frozen=True, slots=True)
class Limits:
    """Levels in dBFS, times in seconds."""

    level: tuple[float, float] = (-23.0, -17.0)
    peak: float = -2.9
    leading: float = 0.3
    trailing: float = 0.6


def check(file: PromptFile, limits: Limits | None = None) -> list[Finding]:
    """Everything wrong with a rendered prompt; empty when all is well. Raises AudioError when it cannot be read."""
    return judge(measure(read(file.path)), file.text, limits)


def judge(found: Loudness, text: str, limits: Limits | None = None) -> list[Finding]:
    """As `check`, of what was already measured."""
    limits = limits or Limits()
    if found.active < -60.0:
        return [Finding(Fault.SILENT, found.active, -60.0, "dBFS")]
    findings = []
    if found.clipped:
        findings.append(Finding(Fault.CLIPPED, found.clipped, 0, "samples"))
    if found.true_peak > limits.peak:
        findings.append(Finding(Fault.PEAK, found.true_peak, limits.peak, "dBFS"))
    if not limits.level[0] <= found.active <= limits.level[1]:
        limit = limits.level[0] if found.active < limits.level[0] else limits.level[1]
        findings.append(Finding(Fault.LEVEL, found.active, limit, "dBFS"))
    if found.leading > limits.leading:
        findings.append(Finding(Fault.LEADING_SILENCE, found.leading, limits.leading, "s"))
    if found.trailing > limits.trailing:
        findings.append(Finding(Fault.TRAILING_SILENCE, found.trailing, limits.trailing, "s"))
    return findings + _judge_length(found.seconds - found.leading - found.trailing, text)


def _judge_length(spoken: float, text: str) -> list[Finding]:
    letters = spoken_letters(text)
    shortest = letters * SECONDS_A_LETTER[0]
    longest = letters * SECONDS_A_LETTER[1] + _SLACK_SECONDS
    if spoken < shortest:
        return [Finding(Fault.TOO_SHORT, spoken, shortest, "s")]
    if spoken > longest:
        return [Finding(Fault.TOO_LONG, spoken, longest, "s")]
    return []


def spoken_letters(text: str) -> int:
    """Letters that a text has when spoken; a digit is a word of about four."""
    return sum(4 if sign.isdigit() else 1 for sign in text if sign.isalnum())
