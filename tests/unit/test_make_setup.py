# SPDX-License-Identifier: GPL-3.0-or-later
"""`make setup`: which virtual environments are kept, and which are made again."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# A Python that only records what it is told; `-m venv --clear FOLDER` makes a whole environment of it.
RECORDS = """\
#!/bin/sh
echo "$0 $*" >> did
[ "$1 $2" != "-m venv" ] || { rm -rf .venv; mkdir -p .venv/bin; cp python .venv/bin/python; }
"""
MADE = "./python -m venv --clear .venv"
INSTALLED = ".venv/bin/python -m pip install"


def setup(folder: Path) -> list[str]:
    """What was run: environments that were made, packages that were installed."""
    shutil.copy(ROOT / "Makefile", folder)
    for name in ("pyproject.toml", "hatch_build.py", "ivr/sip/mediaclock.c"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    for name, text in (("python", RECORDS), (".ci/debian", "#!/bin/sh\n")):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (folder / "did").unlink(missing_ok=True)
    command = ["make", "--no-print-directory", "PYTHON=./python", "setup"]
    env = {"PATH": os.environ["PATH"]}  # not the settings of a `make test` that runs this
    subprocess.run(command, cwd=folder, env=env, check=True, capture_output=True, timeout=60)
    lines = (folder / "did").read_text().splitlines()
    return [known for line in lines for known in (MADE, INSTALLED) if line.startswith(known)]


def test_an_environment_is_made_and_then_kept(tmp_path: Path) -> None:
    assert setup(tmp_path) == [MADE, INSTALLED]
    (tmp_path / ".venv/.ready").unlink()
    assert setup(tmp_path) == [INSTALLED]


@pytest.mark.parametrize(
    "python",
    [
        pytest.param("exit 1", id="without pip, or of another version"),
        pytest.param("", id="of a Python that is gone"),
    ],
)
def test_one_that_is_of_no_use_is_made_again(python: str, tmp_path: Path) -> None:
    left = tmp_path / ".venv/bin/python"
    left.parent.mkdir(parents=True)
    if python:
        left.write_text(f"#!/bin/sh\n{python}\n")
        left.chmod(0o755)
    else:
        left.symlink_to("/nowhere/python")
    assert setup(tmp_path) == [MADE, INSTALLED]
