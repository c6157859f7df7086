# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong with an export."""


class ExportError(Exception):
    """Nothing can be exported. Says what, where and what to do."""

    def __init__(self, what: str, where: object = None, todo: str = "") -> None:
        text = what if where is None else f"{where}: {what}"
        super().__init__(f"{text}; {todo}" if todo else text)


class NotTrusted(ExportError):
    """The log is not what was signed: an export would lend it a credibility that it does not have."""
