# SPDX-License-Identifier: GPL-3.0-or-later
"""The pool of workers: a manager, a nursery that forks, and what both sides say to each other."""
