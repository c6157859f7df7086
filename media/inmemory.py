# SPDX-License-Identifier: GPL-3.0-or-later
"""Sound files in memory, for libsndfile by their descriptor.

soundfile reads and writes a BytesIO through callbacks, whose code cffi writes while the program runs. The units forbid
that (MemoryDenyWriteExecute=), as some kernels' policies do: what is both writable and executable is what an attacker
wants. A memory file needs no callback. No file system has it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def memory_file(content: bytes = b"") -> Iterator[int]:
    """A descriptor of a memory file with this content, read from its beginning; gone at the end of the block."""
    fd = os.memfd_create("assent-sound", os.MFD_CLOEXEC)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


def content_of(fd: int) -> bytes:
    """Everything that is in a memory file, wherever its writer stopped."""
    os.lseek(fd, 0, os.SEEK_SET)
    with open(fd, "rb", closefd=False) as file:
        return file.read()
