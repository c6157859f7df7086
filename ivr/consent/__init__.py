# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may be recorded, decided purely: no I/O, no clock, no logging; all of it can be replayed."""
