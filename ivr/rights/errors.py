# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a right from being exercised. Each says what, where and what to do."""


class RightsError(Exception):
    """It could not be done; nothing was done, or the message says what."""


class NotAllowed(RightsError):
    """Somebody who may not, or whom nobody knows."""


class NotHere(RightsError):
    """What was named is not in this log; another node may have it."""


class AlreadyDone(RightsError):
    """It was done before: nothing is left to do here."""
