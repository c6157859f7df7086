# SPDX-License-Identifier: GPL-3.0-or-later
"""`ivr log` with all its commands: reading and checking, proofs for others, anchors outside, alarms."""

from ivr.cli.log import command
from ivr.cli.log_anchor import anchor
from ivr.cli.log_proofs import check_receipt_command, consistency, export_command, receipt
from ivr.cli.log_verify import verify
from ivr.cli.watch import watch_command

for added in (verify, export_command, consistency, receipt, check_receipt_command, anchor, watch_command):
    command.add_command(added)

__all__ = ["command"]
