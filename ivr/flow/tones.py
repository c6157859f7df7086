# SPDX-License-Identifier: GPL-3.0-or-later
"""Ring-back tones by country: ITU-T E.180 Supplement 2, 'Various tones used in national networks'."""

from dataclasses import dataclass
from enum import StrEnum


class RingBack(StrEnum):
    """Which ring-back tone a caller hears."""

    NONE = "none"
    EUROPE = "europe"
    DE = "de"
    ES = "es"
    FR = "fr"
    UK = "uk"
    US = "us"


@dataclass(frozen=True, slots=True)
class Tone:
    """Frequencies in Hz that sound together, and the cadence in ms: on, off, on, off, …, repeated."""

    hz: tuple[int, ...]
    cadence_ms: tuple[int, ...]


TONES: dict[RingBack, Tone] = {
    RingBack.EUROPE: Tone((425,), (1000, 4000)),
    RingBack.DE: Tone((425,), (1000, 4000)),
    RingBack.ES: Tone((425,), (1500, 3000)),
    RingBack.FR: Tone((440,), (1500, 3500)),
    RingBack.UK: Tone((400, 450), (400, 200, 400, 2000)),
    RingBack.US: Tone((440, 480), (2000, 4000)),
}
