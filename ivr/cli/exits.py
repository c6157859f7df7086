# SPDX-License-Identifier: GPL-3.0-or-later
"""Exit codes of every `ivr` command. docs/reference/exit-codes.md is generated from this."""

from enum import IntEnum


class Exit(IntEnum):
    """The verdict of a command, for scripts."""

    OK = 0
    CHECK_FAILED = 1
    COULD_NOT_RUN = 2
    INCOMPLETE = 3


MEANING: dict[Exit, str] = {
    Exit.OK: "done, and everything that was checked holds",
    Exit.CHECK_FAILED: "it ran, and something that was checked does not hold; each finding is printed",
    Exit.COULD_NOT_RUN: "it could not run: wrong usage, bad configuration, missing key or log, unreadable file",
    Exit.INCOMPLETE: "with --all-nodes: it ran, but not on every node; each one that is missing is named. Repeat it",
}
