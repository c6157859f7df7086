# SPDX-License-Identifier: GPL-3.0-or-later
"""Drives one call: its session, its consent, its recorder, and one file for each verb of a flow."""
