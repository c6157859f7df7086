# SPDX-License-Identifier: GPL-3.0-or-later
"""sd_notify(3): ready, stopping and watchdog, to systemd or to `ivr serve`, whoever set NOTIFY_SOCKET."""

import os
import socket


def notify(state: str) -> bool:
    """Sends one state such as READY=1. False when nobody asked to be told. Never raises: it must not stop a call."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.connect(address)
            sock.sendall(state.encode())
    except OSError:
        return False
    return True


def watchdog_s() -> float | None:
    """Half of the interval in which systemd wants a sign of life, in seconds; None when it wants none."""
    usec = os.environ.get("WATCHDOG_USEC", "")
    pid = os.environ.get("WATCHDOG_PID", "")
    if not usec.isdigit() or (pid.isdigit() and int(pid) != os.getpid()):
        return None
    return int(usec) / 2_000_000
