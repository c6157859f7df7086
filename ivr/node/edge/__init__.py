# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge: Kamailio before the workers, its configuration generated from server.yaml."""
