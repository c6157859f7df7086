# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiles the loop of the media clock (ivr/sip/mediaclock.c) when the project is installed or a wheel is built.

Without a C compiler the installation goes on and says so: workers then run the same loop in Python, which costs more
CPU (docs/design/performance.md).
"""

import os
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE, MADE = "ivr/sip/mediaclock.c", "ivr/sip/libmediaclock.so"
FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared")


class MediaClockHook(BuildHookInterface):  # type: ignore[type-arg]
    """A build hook of hatchling."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """`version` is "editable" for an installation in place: then the library lies beside its source."""
        root = Path(self.root)
        compiler = shlex.split(os.environ.get("CC", "cc"))
        part = root / f"{MADE}.part"
        try:
            subprocess.run([*compiler, *FLAGS, "-o", part, root / SOURCE], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            part.unlink(missing_ok=True)
            (root / MADE).unlink(missing_ok=True)
            self.app.display_warning(f"{SOURCE} was not compiled ({error}): calls will cost more CPU")
            return
        # Renamed over the old one, which a running server may have mapped.
        part.replace(root / MADE)
        build_data["artifacts"].append(MADE)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
