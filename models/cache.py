"""The user's cache folder: what takes long to make is kept there, and the least recently used go.

A file's time of change is that of its last use.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CachedFile:
    """A file of a cache.

    Args:
        size: bytes.
        used: seconds since 1970.
    """

    path: Path
    size: int
    used: float


def cache_folder(name: str) -> Path:
    """$XDG_CACHE_HOME/derain/NAME, or ~/.cache/derain/NAME; it need not be there."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    # The standard says to ignore a relative one.
    base = Path(home) if os.path.isabs(home) else Path.home() / ".cache"
    return base / "derain" / name


def make_private(folder: Path) -> None:
    """Make a folder of the cache, and `derain` above it, for nobody else to read.

    Raises:
        OSError: it cannot be made, or is somebody else's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    if folder.parent.name == "derain":
        folder.parent.chmod(0o700)


def list_files(folder: Path) -> list[CachedFile]:
    """The files of a folder, the least recently used first."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        try:
            stat = path.stat()
        except FileNotFoundError:  # another process is at it
            continue
        if path.is_file():
            found.append(CachedFile(path, stat.st_size, stat.st_mtime))
    return sorted(found, key=lambda file: (file.used, file.path))


def trim(folder: Path, limit: int, recent: float = 0.0) -> list[CachedFile]:
    """Delete the least recently used files until the rest fits; those that went.

    Args:
        folder: of the cache; it need not be there.
        limit: bytes.
        recent: seconds since its last use within which no file goes.

    Raises:
        OSError: a file cannot be deleted.
    """
    files = list_files(folder)
    excess = sum(file.size for file in files) - limit
    gone = []
    for file in files:
        if excess <= 0:
            break
        if time.time() - file.used < recent:
            break  # so are all behind it
        file.path.unlink(missing_ok=True)
        excess -= file.size
        gone.append(file)
    return gone
