# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what strace recorded of a victim (-f -y -xx): file operations with their data, and what the victim said."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Write:
    """`data` at `offset` of a file."""

    path: Path
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    """A file gets this length."""

    path: Path
    length: int


@dataclass(frozen=True, slots=True)
class Create:
    """A file (or folder) gets a name."""

    path: Path
    folder: bool = False


@dataclass(frozen=True, slots=True)
class Remove:
    """A name goes."""

    path: Path


@dataclass(frozen=True, slots=True)
class Rename:
    """A name becomes another."""

    path: Path
    to: Path


@dataclass(frozen=True, slots=True)
class Sync:
    """What was written to this file, or the names in this folder, are on the disk from here on."""

    path: Path


@dataclass(frozen=True, slots=True)
class Said:
    """The victim said that something is true."""

    what: dict[str, Any]


Operation = Write | Truncate | Create | Remove | Rename | Sync | Said

_LINE = re.compile(r"(\d+) +(.*)")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+)")
_HEX = re.compile(r"\\x([0-9a-f]{2})")
_FD = re.compile(r"(\d+|AT_FDCWD)<([^>]*)>")


class TraceError(AssertionError):
    """A line of the trace is not understood: the model would not be what happened."""


def operations(trace: Path) -> Iterator[Operation]:
    """Everything that happened, in order. Raises TraceError."""
    reader = _Reader()
    for line in _joined(trace):
        match = _CALL.match(line)
        if match is None:
            if line.startswith(("+++", "---", "restart_syscall")) or " = ?" in line:
                continue
            raise TraceError(line[:200])
        if int(match[3]) >= 0:
            yield from reader.call(match[1], match[2].split(", "), int(match[3]))


def _joined(trace: Path) -> Iterator[str]:
    """Calls that another thread's line cut in two, put together where they ended."""
    begun: dict[str, str] = {}
    for line in trace.read_text().splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise TraceError(line[:200])
        pid, rest = match[1], match[2]
        if rest.endswith("<unfinished ...>"):
            begun[pid] = rest.removesuffix("<unfinished ...>").rstrip()
        elif rest.startswith("<... "):
            yield begun.pop(pid) + rest.partition("resumed>")[2]
        else:
            yield rest


class _Reader:
    """Knows where each open file is read and written next."""

    def __init__(self) -> None:
        self._at: dict[str, int] = {}
        self._said = b""

    def call(self, name: str, arguments: list[str], result: int) -> Iterator[Operation]:
        match name:
            case "openat":
                path = _relative(arguments[0], arguments[1])
                self._at[str(result)] = 0
                if "O_CREAT" in arguments[2]:
                    yield Create(path)
                if "O_TRUNC" in arguments[2]:
                    yield Truncate(path, 0)
            case "write":
                yield self._append(arguments[0], _text(arguments[1])[:result])
            case "sendfile":
                source = _number(arguments[1])
                with _open_path(arguments[1]).open("rb") as file:
                    file.seek(self._at.get(source, 0))
                    data = file.read(result)
                self._at[source] = self._at.get(source, 0) + result
                yield self._append(arguments[0], data)
            case "pwrite64":
                yield Write(_open_path(arguments[0]), int(arguments[3]), _text(arguments[1])[:result])
            case "ftruncate":
                yield Truncate(_open_path(arguments[0]), int(arguments[1]))
            case "fsync" | "fdatasync":
                yield Sync(_open_path(arguments[0]))
            case "mkdir":
                yield Create(_path(arguments[0]), folder=True)
            case "unlink" | "rmdir":
                yield Remove(_path(arguments[0]))
            case "unlinkat":
                yield Remove(_relative(arguments[0], arguments[1]))
            case "rename":
                yield Rename(_path(arguments[0]), _path(arguments[1]))
            case "sendto":
                yield from self._says(_text(arguments[1])[:result])
            case "getpgid":
                pass
            case _:
                raise TraceError(f"{name} is not understood")

    def _append(self, fd: str, data: bytes) -> Write:
        number = _number(fd)
        at = self._at.get(number, 0)
        self._at[number] = at + len(data)
        return Write(_open_path(fd), at, data)

    def _says(self, data: bytes) -> Iterator[Said]:
        # Other sockets speak too; only the victim's line speaks JSON objects, a line each.
        if data.startswith(b"{") and data.endswith(b"}\n"):
            yield from (Said(json.loads(line)) for line in data.splitlines())


def _text(argument: str) -> bytes:
    if argument.endswith("..."):
        raise TraceError("the data was cut: -s is too small")
    return bytes.fromhex("".join(_HEX.findall(argument)))


def _path(argument: str) -> Path:
    path = Path(os.fsdecode(_text(argument)))
    if not path.is_absolute():
        raise TraceError(f"{path} is relative")
    return path


def _relative(folder: str, argument: str) -> Path:
    return _open_path(folder) / os.fsdecode(_text(argument))


def _open_path(fd: str) -> Path:
    match = _FD.match(fd)
    if match is None:
        raise TraceError(f"{fd} has no path")
    return Path(os.fsdecode(_text(match[2])))


def _number(fd: str) -> str:
    return fd.partition("<")[0]
