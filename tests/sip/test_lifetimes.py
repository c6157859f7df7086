# SPDX-License-Identifier: GPL-3.0-or-later
"""~Call() hangs up whatever call holds its id by then: over hundreds of calls no reference to one may be kept."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

from demo.server import free_port

CALLS = 300


def test_hundreds_of_calls_leave_nothing_behind_and_none_kills_another(tmp_path: Path) -> None:
    sound = tmp_path / "tone.wav"
    soundfile.write(sound, (np.sin(np.arange(8000) / 3) * 8000).astype(np.int16), 8000)
    victim = Path(__file__).with_name("endpoint_counter.py")
    endpoint = subprocess.Popen(
        [sys.executable, str(victim), str(sound), str(free_port(20_000, 30_000, 200))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if endpoint.stdin is None or endpoint.stdout is None:
            raise AssertionError("the endpoint has no pipes")
        port = endpoint.stdout.readline().strip()
        sipp = ["sipp", "-sn", "uac", f"127.0.0.1:{port}", "-i", "127.0.0.1", "-p", str(free_port(30_000, 31_000))]
        load = ["-m", str(CALLS), "-r", "40", "-l", "4", "-d", "60", "-nostdin", "-timeout", "60"]
        done = subprocess.run(
            [*sipp, "-mp", str(free_port(31_002, 32_000, 16)), *load],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        endpoint.stdin.write("count\n")
        endpoint.stdin.flush()
        counted = endpoint.stdout.readline()
        assert done.returncode == 0, done.stdout[-3000:]
        assert counted.split() == ["calls", str(CALLS), "up", str(CALLS), "legs", "0", "objects", "0"]
        assert endpoint.wait(timeout=20) == 0
    finally:
        endpoint.kill()
        endpoint.wait()
        for pipe in (endpoint.stdin, endpoint.stdout):
            if pipe is not None:
                pipe.close()
