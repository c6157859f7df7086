# SPDX-License-Identifier: GPL-3.0-or-later
"""Ring-back by country and the beep, to be looped without a click (cadences of ITU-T E.180 Supplement 2)."""

from dataclasses import dataclass

import numpy as np

from media.audio import Audio, AudioError, from_floats

# As loud as our prompts are; E.180 has -10 dBm0 ± 5 dB, and full scale is +3.14 dBm0.
_LEVEL_DBFS = -18.0
_RAMP_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Cadence:
    """Frequencies in Hz sounded together, then seconds on and off in turn; one whole period."""

    hertz: tuple[float, ...]
    on_off: tuple[float, ...]


RINGBACK: dict[str, Cadence] = {
    "de": Cadence((425.0,), (1.0, 4.0)),
    "es": Cadence((425.0,), (1.5, 3.0)),
    "europe": Cadence((425.0,), (1.0, 4.0)),
    "fr": Cadence((440.0,), (1.5, 3.5)),
    "uk": Cadence((400.0, 450.0), (0.4, 0.2, 0.4, 2.0)),
    "us": Cadence((440.0, 480.0), (2.0, 4.0)),
}
BEEP = Cadence((1400.0,), (0.25, 0.05))


def tone(name: str, rate: int) -> Audio:
    """`ringback:uk` or `beep`: one period, ending in silence, so that it loops. AudioError: unknown name."""
    kind, _, country = name.partition(":")
    if name == "beep":
        return cadenced(BEEP, rate)
    if kind == "ringback" and country in RINGBACK:
        return cadenced(RINGBACK[country], rate)
    known = ", ".join(["beep", *(f"ringback:{country}" for country in RINGBACK)])
    raise AudioError(f"unknown tone {name!r}: one of {known}")


def cadenced(cadence: Cadence, rate: int, level: float = _LEVEL_DBFS) -> Audio:
    """One period at `level` dBFS RMS while it sounds, with soft edges: a hard one clicks on every loop."""
    pieces = []
    for index, seconds in enumerate(cadence.on_off):
        count = round(seconds * rate)
        if index % 2:
            pieces.append(np.zeros(count))
            continue
        time = np.arange(count) / rate
        wave = sum((np.sin(2 * np.pi * hertz * time) for hertz in cadence.hertz), np.zeros(count))
        wave *= 10 ** (level / 20) * np.sqrt(2 / len(cadence.hertz))
        ramp = round(_RAMP_SECONDS * rate)
        edge = 0.5 - 0.5 * np.cos(np.pi * (np.arange(ramp) + 0.5) / ramp)
        wave[:ramp] *= edge
        wave[-ramp:] *= edge[::-1]
        pieces.append(wave)
    return from_floats(np.concatenate(pieces), rate)
