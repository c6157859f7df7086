# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes what came of scenarios into their files, to be read by a person: python -m scenarios.rewrite FILE…"""

import sys
import tempfile
from pathlib import Path

import pytest

from scenarios.clock import watch_sealers
from scenarios.judge import came_of, judge
from scenarios.script import parse, written
from scenarios.stage import Stage, build


def main(files: list[Path]) -> None:
    """Each file is played once; a scenario that fails its omnibus check is written all the same, and said."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        watch_sealers(patch)
        house = build(Path(folder))
        for file in files:
            own = Path(folder) / file.stem
            own.mkdir()
            scenario = parse(file)
            outcome = Stage(house, scenario, own, patch).play()
            file.write_text(written(scenario, came_of(outcome)))
            try:
                judge(outcome)
            except AssertionError as error:
                print(f"{file.name}: {error}", file=sys.stderr)


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
