"""Decoded clips in the user's cache, which training maps into memory.

A clip is a .npy file, named by the path, size and time of what it was decoded from.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from derain.models.cache import make_private

LIMIT = 20 << 30  # bytes; 22 MB of clips decode to 1.9 GB
RECENT = 3 * 86_400.0  # seconds since its last use in which a clip may be another run's


def store_clip(path: Path, cache: Path, read_clip: Callable[[Path], NDArray[np.uint8]]) -> Path:
    """The clip as a .npy file that can be memory-mapped, decoded on first use.

    Args:
        path: a video or a folder of frames.
        cache: folder, made where it is missing, for its owner alone.
        read_clip: decodes to (T, H, W, 3).
    """
    # A folder's own time does not change where a frame in it is written over.
    stats = [each.stat() for each in (path, *(sorted(path.iterdir()) if path.is_dir() else ()))]
    marks = " ".join(f"{stat.st_size} {stat.st_mtime_ns}" for stat in stats)
    key = hashlib.sha256(f"{path.resolve()} {marks}".encode())
    target = cache / f"{path.stem[:40]}-{key.hexdigest()[:12]}.npy"
    if target.is_file():
        os.utime(target)
        return target
    make_private(cache)
    part = target.with_suffix(f".{os.getpid()}.part.npy")  # two runs may decode at once
    try:
        np.save(part, read_clip(path))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target
