# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the running system from outside: `make bench`, or `python -m bench --help`. See bench/README.md."""
