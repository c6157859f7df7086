# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs SIPp (Debian's sip-tester) with the scenarios beside this file."""

import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.parties import voice
from bench.wire import Address
from demo.server import free_port

_SCENARIOS = Path(__file__).with_name("sipp")


class SippMissing(Exception):
    """SIPp is not installed."""


class Sipp:
    """One SIPp process in a folder of its own. A context manager: ended by its process id if it has not ended."""

    def __init__(
        self, scenario: str, folder: Path, *arguments: str, rtp_ports: int = 16, port: int | None = None
    ) -> None:
        """Raises SippMissing."""
        program = shutil.which("sipp")
        if program is None:
            raise SippMissing("sipp is not installed; on Debian: apt-get install sip-tester")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "voice.ulaw").write_bytes(voice())
        self.port = port or free_port(30_000, 39_000)
        rtp = free_port(40_000, 48_000, rtp_ports)
        command = [program, "-sf", str(_SCENARIOS / f"{scenario}.xml"), "-i", "127.0.0.1", "-p", str(self.port)]
        command += ["-mi", "127.0.0.1", "-mp", str(rtp)]
        command += ["-nostdin", "-trace_err", "-error_file", str(folder / "errors.txt"), *arguments]
        self._errors = folder / "errors.txt"
        self._output = folder / "sipp.out"
        with self._output.open("wb") as out:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TERM": "dumb"},
            )

    @property
    def uri(self) -> str:
        """Where an agent is rung."""
        return f"sip:agent@127.0.0.1:{self.port}"

    def finish(self, within: float) -> bool:
        """Waits for its end; whether every call went as the scenario says."""
        try:
            return self._process.wait(timeout=within) == 0
        except subprocess.TimeoutExpired:
            return False

    @property
    def told(self) -> str:
        """What went wrong, as SIPp says it."""
        text = self._errors.read_text(errors="replace") if self._errors.exists() else ""
        return text or self._output.read_text(errors="replace")[-2000:]

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=3)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def agents(folder: Path) -> Sipp:
    """SIPp as an agent that takes calls until it is closed."""
    return Sipp("agent", folder)


def callers(folder: Path, server: Address, number: str, seconds: float, calls: int = 1) -> Sipp:
    """SIPp as a caller: so many calls at once, each for so long."""
    many = ("-m", str(calls), "-l", str(calls), "-r", str(calls))
    return Sipp("caller", folder, "-s", number, "-d", str(round(seconds * 1000)), *many, f"{server[0]}:{server[1]}")


def stranger(folder: Path, server: Address, number: str, seconds: float) -> Sipp:
    """SIPp as a caller who offers as little as can be."""
    return Sipp(
        "stranger", folder, "-s", number, "-d", str(round(seconds * 1000)), "-m", "1", f"{server[0]}:{server[1]}"
    )
