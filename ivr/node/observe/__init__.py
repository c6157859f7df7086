# SPDX-License-Identifier: GPL-3.0-or-later
"""What operators see of a running node: metrics, probes and the live view. Nothing personal is in any of it."""
