"""What workers do with the files of a job, in a plain folder and in a store alike."""

from __future__ import annotations

import os
import shutil
from hashlib import sha256
from pathlib import Path

from derain.models.cache import cache_folder
from derain.pipeline.storage.stores import SharedPath, StorePath


def create(path: SharedPath, text: str) -> bool:
    """Make a file that only one can make; False where it is there."""
    if isinstance(path, StorePath):
        return path.create(text)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


def rewrite(path: SharedPath, text: str) -> None:
    """Write anew what must be there: nobody brings back what another one deleted.

    Raises:
        FileNotFoundError: it is not there.
    """
    if isinstance(path, StorePath):
        if not path.exists():
            raise FileNotFoundError(str(path))
        path.write_text(text)
        return
    with path.open("r+", encoding="utf-8") as file:
        file.write(text)
        file.truncate()


def replace(path: SharedPath, text: str) -> None:
    """Write a file as a whole: others see what was there before, or all of this."""
    if isinstance(path, StorePath):
        path.write_text(text)
        return
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(text, encoding="utf-8")
    os.replace(fresh, path)


def append(path: SharedPath, line: str) -> None:
    """Add a line to a file that nobody else writes; it is safe when this returns."""
    if isinstance(path, StorePath):
        path.write_text((path.read_text() if path.exists() else "") + line)
        return
    with path.open("a", encoding="utf-8") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def files_in(folder: SharedPath) -> list[SharedPath]:
    """The files of a folder, by name."""
    found: list[SharedPath] = [*folder.iterdir()]
    return sorted(found, key=str)


def modified(path: SharedPath) -> float:
    """When a file was written, by the clock of where it lies.

    Raises:
        OSError: it is not there.
    """
    return path.modified() if isinstance(path, StorePath) else path.stat().st_mtime


def publish(file: Path, path: SharedPath) -> None:
    """Move a local file to where all see it, as a whole."""
    if isinstance(path, StorePath):
        path.upload(file)
        file.unlink()
    else:
        os.replace(file, path)


def remove(path: SharedPath) -> None:
    """Delete a folder with all that is in it."""
    if isinstance(path, StorePath):
        path.remove()
    else:
        shutil.rmtree(path)


def scratch(path: SharedPath) -> Path:
    """A folder on this machine's disk for what is on the way to a store; in a plain folder, itself.

    It is the same for all that know the path, so that what a killed worker left is found.
    """
    if isinstance(path, StorePath):
        return cache_folder("stored") / sha256(path.url.encode()).hexdigest()[:16]
    return path
