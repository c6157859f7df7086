# SPDX-License-Identifier: GPL-3.0-or-later
"""What the consent machine raises."""


class InvariantError(Exception):
    """The machine was told something that cannot be true in this state. The old state stands; nothing was changed."""
