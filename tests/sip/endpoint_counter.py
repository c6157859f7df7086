# SPDX-License-Identifier: GPL-3.0-or-later
"""A process with the real endpoint that answers every call, plays a file, and counts what is still alive at the end.

Ports on stdout, then after a line on stdin: `calls N up N legs N objects N`.
"""

import asyncio
import gc
import logging
import sys
from pathlib import Path

from ivr.sip.call import PjCall
from ivr.sip.endpoint import Endpoint, EndpointSettings
from ivr.sip.events import Down, Invite, LegEvent, Up
from ivr.sip.leg import Leg
from ivr.sip.linger import LINGER_S
from ivr.sip.player import Player


async def main(sound: Path) -> None:
    """Serves until a line comes on stdin."""
    calls = {"taken": 0, "up": 0, "down": 0}

    def incoming(leg: Leg, _invite: Invite) -> None:
        calls["taken"] += 1

        def on(event: LegEvent) -> None:
            if isinstance(event, Up):
                calls["up"] += 1
                leg.play(sound)
            if isinstance(event, Down):
                calls["down"] += 1

        leg.listen(on)
        leg.answer()

    endpoint = Endpoint(EndpointSettings(port=0, rtp_port=int(sys.argv[2])), incoming)
    endpoint.start()
    print(endpoint.port, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    deadline = asyncio.get_running_loop().time() + 5
    while calls["down"] < calls["taken"] and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.05)
    while asyncio.get_running_loop().time() < deadline - 4 + LINGER_S:
        await asyncio.sleep(0.05)
    gc.collect()
    alive = [thing for thing in gc.get_objects() if isinstance(thing, PjCall | Player | Leg)]
    print(f"calls {calls['taken']} up {calls['up']} legs {endpoint.legs} objects {len(alive)}", flush=True)
    endpoint.stop()


logging.basicConfig(level=logging.WARNING)
asyncio.run(main(Path(sys.argv[1])))
