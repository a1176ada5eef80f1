"""How the C library hands out memory to a process that runs for hours."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["return_large_blocks"]

_M_MMAP_THRESHOLD = -3
_LARGE = 15 * 2**20
"""Just below the networks' large maps, of 16 MiB and more."""


def return_large_blocks() -> bool:
    """Let large blocks go back to the system when they are freed; True where that could be arranged (glibc).

    glibc does so by itself only until the first large block is freed; from then on blocks of that size come
    from its heap, small ones settle between them, and what a process holds goes up in steps of a map.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE))
    except (AttributeError, OSError):
        return False
