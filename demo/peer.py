# SPDX-License-Identifier: GPL-3.0-or-later
"""A scripted softphone: `python -m demo.peer --name alice --tone 440`.

Commands are JSON lines on stdin, `{"n": 1, "do": "call", "uri": "sip:100@127.0.0.1:5060"}`; events are JSON lines on
stdout, each with `at`, the monotonic clock in ns, which is the same for all processes of a machine. See demo/driver.py.
"""

import asyncio
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import click
import pjsua2 as pj

from demo.softphone import Habits, Softphone, Voicing


class Printer:
    """Writes events, from any thread. PJSIP prints to stdout, so events get the real one and it gets stderr."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def __call__(self, event: str, **fields: object) -> None:
        line = json.dumps({"event": event, "at": time.monotonic_ns(), **fields}, ensure_ascii=False)
        with self._lock:
            self._out.write(line + "\n")


def run_command(phone: Softphone, command: dict[str, Any]) -> None:
    """One command. Raises KeyError for a call that is gone, TypeError for a wrong argument."""
    do, number = command.pop("do"), command.pop("call", None)
    if do == "call":
        phone.call(command["uri"], command.get("headers", {}), command.get("sdp", []))
    elif do == "incoming":
        phone.habits = Habits(**command)
    elif do == "hangup_all":
        phone.end_all()
    elif do == "hangup" and not phone.has(number):
        return
    else:
        call = phone.get(number)
        try:
            match do:
                case "dtmf":
                    call.dtmf(**command)
                case "hold":
                    call.hold()
                case "unhold":
                    call.unhold()
                case "reinvite":
                    call.offer(command.get("sdp"))
                case "hangup":
                    call.end(**command)
                case "mute" | "unmute":
                    call.mute(do == "mute")
                case "listen":
                    call.listen(**command)
                case _:
                    raise TypeError(f"unknown command {do!r}")
        finally:
            del call


async def serve(phone: Softphone, emit: Printer) -> None:
    """Runs commands until `quit` or the end of stdin."""
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command = json.loads(line)
        if command["do"] == "quit":
            return
        number = command.pop("n")
        try:
            run_command(phone, dict(command))
        except (KeyError, TypeError, pj.Error) as error:
            emit("refused", n=number, why=error.reason if isinstance(error, pj.Error) else repr(error))
        else:
            emit("done", n=number, did=command["do"])


@click.command()
@click.option("--name", required=True, help="User part of its SIP address.")
@click.option("--port", default=0, help="SIP port; 0 takes a free one.")
@click.option("--codecs", default="PCMU,PCMA,G722", help="Codecs it offers, the preferred one first.")
@click.option("--rate", default=8000, help="Samples a second of its audio.")
@click.option("--no-telephone-event", is_flag=True, help="Offers no RFC 4733 keys.")
@click.option("--tone", type=float, help="Says a tone of this frequency.")
@click.option("--level", default=-12.0, help="Level of the tone, dBFS RMS.")
@click.option("--play", type=click.Path(path_type=Path), help="Says this WAV file, again and again.")
@click.option("--record", default="none", help="Writes what it hears to this WAV file.")
def main(
    name: str,
    port: int,
    codecs: str,
    rate: int,
    no_telephone_event: bool,
    tone: float | None,
    level: float,
    play: Path | None,
    record: str,
) -> None:
    """A softphone that does as it is told."""
    emit = Printer()

    async def run() -> None:
        phone = Softphone(name, emit, Voicing(tone, level, play), codecs.split(","), rate)
        phone.telephone_event = not no_telephone_event
        phone.record = None if record == "none" else Path(record)
        listening = phone.start(port)
        emit("ready", port=listening, pid=os.getpid())
        try:
            await serve(phone, emit)
        finally:
            await phone.stop()

    asyncio.run(run())
    emit("gone")
    os._exit(0)


if __name__ == "__main__":
    main()
