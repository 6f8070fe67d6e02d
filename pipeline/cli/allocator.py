"""How the C library gives out memory, set once for a process that is ours: the `derain` command.

Libraries that are imported leave their host's memory alone; nothing else here knows of it.
"""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h of glibc
KEPT = 256 << 20  # bytes of free memory that are kept for the next frame
LARGE = 32 << 20  # bytes from which a block is the system's own again as soon as it is free


def keep_memory() -> bool:
    """Let all threads share one heap, and let it keep what a frame needs; whether it is so now.

    The network asks for the same images again and again. By default glibc gives their pages back
    to the system and takes them again with every frame, and each thread holds its own reserve: that
    costs CPU time, and memory that grows and shrinks by a tenth without a reason.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return False
    settings = ((M_ARENA_MAX, 1), (M_TRIM_THRESHOLD, KEPT), (M_MMAP_THRESHOLD, LARGE))
    return all(mallopt(name, value) == 1 for name, value in settings)
