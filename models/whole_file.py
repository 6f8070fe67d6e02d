"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file beside `path` and move it there once it is on the disk.

    Whatever goes wrong, a full disk too, what was at `path` stays and no part is left. The mode is
    that of any new file, as the umask says.

    Raises:
        OSError: it cannot be written, whatever `write` made of that.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            try:
                write(file)
            except RuntimeError as error:  # what torch.save makes of an OSError
                raise OSError(f"{part}: {error}") from error
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
