# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the shipped prompts, example configuration and schemas are, installed or in a checkout."""

from importlib.resources import files
from pathlib import Path
from typing import Literal


def packaged(name: Literal["prompts", "config"]) -> Path:
    """The folder of shipped data. A wheel carries it inside the package; an editable install reads the checkout.

    Raises FileNotFoundError when neither is there, which means that the installation is broken.
    """
    inside = Path(str(files("ivr"))) / "data" / name
    if inside.is_dir():
        return inside
    checkout = Path(str(files("ivr"))).parent / name
    if checkout.is_dir():
        return checkout
    raise FileNotFoundError(f"this installation has no {name!r} folder ({inside}): install assent-ivr again")
