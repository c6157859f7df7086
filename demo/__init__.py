# SPDX-License-Identifier: GPL-3.0-or-later
"""Real softphones in processes of their own, for the demo, the tests and the bench. No part of the server."""
