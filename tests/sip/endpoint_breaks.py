# SPDX-License-Identifier: GPL-3.0-or-later
"""A process with the real endpoint in which taking a call breaks, by the number that is rung: `early` on the thread of
PJSIP, `late` on the event loop. Any other number is answered. Its port on stdout; a line on stdin ends it.
"""

import asyncio
import logging
import sys

from ivr.sip import endpoint as module
from ivr.sip.endpoint import Endpoint, EndpointSettings
from ivr.sip.events import Invite
from ivr.sip.leg import Leg

_user_of_request = module.sdp.request_user


def _request_user(message: str) -> str:
    user = _user_of_request(message)
    if user == "early":
        raise RuntimeError("an INVITE that breaks its reader")
    return user


async def main() -> None:
    """Serves until a line comes on stdin."""

    def incoming(leg: Leg, invite: Invite) -> None:
        if invite.dialled == "late":
            raise RuntimeError("a call that breaks its session")
        leg.listen(lambda _event: None)
        leg.answer()
        if invite.dialled == "mute":
            asyncio.get_running_loop().call_later(1, leg.hangup)

    module.sdp.request_user = _request_user
    endpoint = Endpoint(EndpointSettings(port=0, rtp_port=int(sys.argv[1]), patience_ms=2_000), incoming)
    endpoint.start()
    print(endpoint.port, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    print(f"legs {endpoint.legs}", flush=True)
    endpoint.stop()


logging.basicConfig(level=logging.CRITICAL)
asyncio.run(main())
