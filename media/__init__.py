# SPDX-License-Identifier: GPL-3.0-or-later
"""Audio without SIP: notice rendering, loudness, DTMF detection, files. Imports nothing of ivr."""
