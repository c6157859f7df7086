# SPDX-License-Identifier: GPL-3.0-or-later
"""One call for somebody else: vCon, DPV record, report. Reads log and vault, writes nothing but its own file."""
