# SPDX-License-Identifier: GPL-3.0-or-later
"""UUIDv7 (RFC 9562 section 5.7): ids of events, calls and recordings sort by when they were made."""

import secrets
import time
import uuid


def uuid7() -> str:
    """A fresh UUIDv7: 48 bits of Unix milliseconds, 74 random bits."""
    value = (time.time_ns() // 1_000_000 & (1 << 48) - 1) << 80
    value |= 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=value))
