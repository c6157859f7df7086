# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m ivr` is `ivr`."""

from ivr.cli import main

main(prog_name="ivr")
