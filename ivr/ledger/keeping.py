# SPDX-License-Identifier: GPL-3.0-or-later
"""How the log keeps what is personal. Apart from who does it: workers read these settings, and carry no database."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class PersonalSettings:
    """`subjects` is the folder of the key store; None keeps fields in clear (tests). Days by retention rule."""

    subjects: Path | None = None
    region: str | None = None
    retention_days: Mapping[str, int] = field(default_factory=dict)
