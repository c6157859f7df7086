# SPDX-License-Identifier: GPL-3.0-or-later
"""Rights of the people who were recorded: retention, erasure, holds, requests, and who may open what."""
