# SPDX-License-Identifier: GPL-3.0-or-later
"""The one door to PJSIP: nothing else imports pjsua2. Callbacks become frozen events on the event loop."""
