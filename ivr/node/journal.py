# SPDX-License-Identifier: GPL-3.0-or-later
"""Levels of lines for systemd's journal: `<3>` before a line says that it is an error, and is taken off (sd-daemon(3)).

Imports little: see `ivr.node.edge.scribe`.
"""

import os

PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


def reads(fd: int = 2) -> bool:
    """Whether the journal reads what is written there (JOURNAL_STREAM in systemd.exec(5))."""
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def with_level(level: str, text: str) -> str:
    """Each line of the text, for the journal takes each by itself."""
    mark = f"<{PRIORITIES.get(level.lower(), 6)}>"
    return mark + text.replace("\n", f"\n{mark}")
