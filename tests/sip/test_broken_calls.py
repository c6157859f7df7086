# SPDX-License-Identifier: GPL-3.0-or-later
"""A call that the program cannot take is refused, and its place is free: PJSIP has four in all."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from demo.server import free_port
from sip.barephone import BarePhone

PLACES = 4


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    victim = [sys.executable, str(Path(__file__).with_name("endpoint_breaks.py")), str(free_port(10_000, 19_800, 16))]
    with subprocess.Popen(victim, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield int(process.stdout.readline())
        out, _ = process.communicate("\n", timeout=20)
        assert out == "legs 0\n"
    assert process.returncode == 0


def _rings(port: int, number: str) -> int | None:
    with BarePhone(("127.0.0.1", port)) as phone:
        phone.invite(number)
        status = phone.answered().status
        if status == 200:
            phone.ack()
            phone.request("BYE")
        return status


@pytest.mark.parametrize("where", ["early", "late"])
def test_whatever_breaks_the_caller_is_told_and_the_place_is_free(port: int, where: str) -> None:
    assert [_rings(port, where) for _ in range(PLACES + 2)] == [500] * (PLACES + 2)
    assert _rings(port, "100") == 200


def test_callers_who_never_acknowledge_do_not_hold_their_places_for_a_minute(port: int) -> None:
    with ExitStack() as stack:
        for _ in range(PLACES):
            mute = stack.enter_context(BarePhone(("127.0.0.1", port)))
            mute.invite("mute")
            assert mute.answered().status == 200
        assert _rings(port, "100") != 200
        # Twice the two seconds of this endpoint; by the standard's own timers it would be 64.
        deadline = time.monotonic() + 30
        while _rings(port, "100") != 200:
            assert time.monotonic() < deadline, "the places are not free"
