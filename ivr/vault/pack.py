# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs: the sealed segments of a recording as one object of the archive, an ordinary tar file (POSIX ustar).

A segment lasts 1.2 s. One object each would be 50 requests a call-minute; a pack is a few minutes of a call, small
enough for a single PUT, which object stores do whole or not at all. The same segments make the same bytes.
"""

import io
import re
import tarfile
from collections.abc import Sequence

from ivr.vault.errors import Damaged
from ivr.vault.segments import parse_segment_name

PACK_BYTES = 4 * 1024 * 1024
"""A pack is closed before it would get larger; about five minutes of a call."""

_NAME = re.compile(r"[0-9]{6}-[0-9]{6}\.tar")
_END = bytes(1024)  # POSIX.1-2017, pax, "ustar Interchange Format": two blocks of zeros
_MAX_READ = 64 * 1024 * 1024


def pack_name(first: int, last: int) -> str:
    """`000000-000219.tar`: the numbers of its first and its last segment."""
    return f"{first:06d}-{last:06d}.tar"


def is_pack_name(name: str) -> bool:
    """Whether an object of this name is a pack."""
    return _NAME.fullmatch(name) is not None


def build_pack(files: Sequence[tuple[str, bytes]]) -> bytes:
    """The tar file of these (name, sealed bytes), in this order; nothing of this machine is in it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o600
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def read_pack(data: bytes, where: object) -> dict[str, bytes]:
    """The sealed segments in a pack, by file name. Raises Damaged for anything else."""
    found: dict[str, bytes] = {}
    if len(data) > _MAX_READ:
        raise Damaged(f"is no pack: {len(data)} bytes", where)
    # tarfile takes a cut between two members for the end.
    if not data.endswith(_END):
        raise Damaged("is no whole pack: it has no end", where)
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isreg() else None
                if content is None or not parse_segment_name(member.name) or member.name in found:
                    raise Damaged(f"holds {member.name!r}, which is no segment or there twice", where)
                found[member.name] = content.read()
                if len(found[member.name]) != member.size:
                    raise Damaged(f"ends within {member.name}", where)
    except tarfile.TarError as error:
        raise Damaged(f"is no pack: {error}", where) from error
    return found
