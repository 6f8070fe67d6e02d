"""Decoded clips on disk, which training maps into memory: where they lie, and how many may.

A clip of the cache is a .npy file, named by the path, size and time of what it was decoded from.
Its time of change is that of its last use, so that the least recently used go first.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LIMIT = 20 << 30  # bytes; 22 MB of clips decode to 1.9 GB
RECENT = 3 * 86_400.0  # seconds in which a clip counts as used by another run


@dataclass(frozen=True, slots=True)
class CachedClip:
    """A file of the cache.

    Args:
        used: seconds since 1970.
    """

    path: Path
    size: int
    used: float


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/derain/clips, or ~/.cache/derain/clips; it need not be there."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    # The standard says to ignore a relative one.
    base = Path(home) if os.path.isabs(home) else Path.home() / ".cache"
    return base / "derain" / "clips"


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


def make_private(cache: Path) -> None:
    """Make the folder, and those above it that are ours, for nobody else to read."""
    cache.mkdir(parents=True, exist_ok=True)
    for folder in (cache, cache.parent):
        if folder.name in ("clips", "derain"):
            folder.chmod(0o700)


def list_clips(cache: Path) -> list[CachedClip]:
    """What is there, the least recently used first."""
    found = []
    for path in cache.glob("*.npy") if cache.is_dir() else ():
        try:
            stat = path.stat()
        except FileNotFoundError:  # another run ends
            continue
        found.append(CachedClip(path, stat.st_size, stat.st_mtime))
    return sorted(found, key=lambda clip: (clip.used, clip.path))


def trim(cache: Path, limit: int = LIMIT, recent: float = RECENT) -> list[CachedClip]:
    """Delete the least recently used clips until the rest fits; those that went.

    Args:
        cache: the folder.
        limit: bytes.
        recent: seconds since its last use within which no clip goes.
    """
    clips = list_clips(cache)
    excess = sum(clip.size for clip in clips) - limit
    gone = []
    for clip in clips:
        if excess <= 0:
            break
        if time.time() - clip.used < recent:
            break  # so are all behind it
        clip.path.unlink(missing_ok=True)
        excess -= clip.size
        gone.append(clip)
    return gone
