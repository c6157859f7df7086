# SPDX-License-Identifier: GPL-3.0-or-later
"""The C library inside pjsua2's extension module, for what SWIG does not wrap."""

import ctypes
import sys
from functools import cache

import pjsua2  # noqa: F401  its extension module has to be loaded


@cache
def library() -> ctypes.CDLL:
    """Its symbols are exported. Functions called through it let other threads of Python run."""
    path = next(m.__file__ for n, m in sys.modules.items() if n.endswith("_pjsua2") and m.__file__)
    return ctypes.CDLL(path)
