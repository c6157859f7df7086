# SPDX-License-Identifier: GPL-3.0-or-later
"""One file a verb; each has `run(session, step)` and gives the section that comes next, or None for the next step."""
