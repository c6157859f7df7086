# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a program under what a unit forbids: its SystemCallFilter and MemoryDenyWriteExecute, as systemd would set them.

    python confine.py UNIT PROGRAM [ARGUMENT…]

No systemd is needed, and no root: both are seccomp filters, which every process may take upon itself. What else a unit
takes away (users, paths, networks) is not looked at here.
"""

import ctypes
import errno
import functools
import os
import subprocess
import sys
from pathlib import Path

_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_MASKED_EQ, _PROT_WRITE, _PROT_EXEC = 7, 2, 4


class _Compare(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


@functools.cache
def members(name: str) -> frozenset[str]:
    """The system calls of a set, sets within it included; of a call's own name itself."""
    if not name.startswith("@"):
        return frozenset([name])
    told = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager", name], capture_output=True, check=True)
    words = [line.strip() for line in told.stdout.decode().splitlines() if line.startswith("    ")]
    return frozenset().union(*(members(word) for word in words if not word.startswith("#")))


def allowed(unit: Path) -> frozenset[str]:
    """What the lines of `SystemCallFilter=` leave, the first of which says what there is. systemd adds @default."""
    found = members("@default")
    for line in unit.read_text().splitlines():
        if line.startswith("SystemCallFilter="):
            value = line.partition("=")[2]
            named = frozenset().union(*(members(word) for word in value.removeprefix("~").split()))
            found = found - named if value.startswith("~") else found | named
    return found


def confine(unit: Path) -> None:
    """From here on, and for every process started from here, the kernel says EPERM to what the unit forbids."""
    lib = ctypes.CDLL("libseccomp.so.2")
    lib.seccomp_init.restype = ctypes.c_void_p
    lib.seccomp_rule_add_array.argtypes = (
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_void_p,
    )
    lib.seccomp_load.argtypes = (ctypes.c_void_p,)
    refuse = _ERRNO | errno.EPERM

    def number(name: str) -> int:
        return int(lib.seccomp_syscall_resolve_name(name.encode()))

    if "MemoryDenyWriteExecute=true" in unit.read_text():
        _load(
            lib, _ALLOW, [(refuse, number("mmap"), _PROT_WRITE | _PROT_EXEC), (refuse, number("mprotect"), _PROT_EXEC)]
        )
    _load(lib, refuse, [(_ALLOW, number(name), 0) for name in allowed(unit)])


def _load(lib: ctypes.CDLL, otherwise: int, rules: list[tuple[int, int, int]]) -> None:
    """A filter of rules (action, system call, bits that its third argument must have for it)."""
    context = lib.seccomp_init(otherwise)
    for action, number, bits in rules:
        if number < 0:  # of another kind of machine
            continue
        compare = _Compare(2, _MASKED_EQ, bits, bits)
        if error := lib.seccomp_rule_add_array(context, action, number, 1 if bits else 0, ctypes.byref(compare)):
            raise OSError(-error, f"system call {number}")
    if error := lib.seccomp_load(context):
        raise OSError(-error, os.strerror(-error))


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
