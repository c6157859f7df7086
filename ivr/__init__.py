# SPDX-License-Identifier: GPL-3.0-or-later
"""Assent: a telephone server that records a call only when it may, and can prove it."""

__version__ = "0.1.0"
