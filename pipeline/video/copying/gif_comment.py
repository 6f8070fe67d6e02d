"""The comment of a GIF, which FFmpeg reads and does not write."""

from __future__ import annotations

from pathlib import Path

TRAILER = b";"
COMMENT = b"\x21\xfe"
BLOCK = 255  # bytes, at most


def add_comment(path: Path, text: str) -> None:
    """Put a comment at the end of a complete GIF, in place.

    Raises:
        OSError: the file cannot be written.
        ValueError: it is no complete GIF.
    """
    data = text.encode("utf-8")
    blocks = (data[at : at + BLOCK] for at in range(0, len(data), BLOCK))
    with path.open("r+b") as file:
        file.seek(-1, 2)
        if file.read(1) != TRAILER:
            raise ValueError("it is no complete GIF")
        file.seek(-1, 2)
        file.write(COMMENT + b"".join(bytes([len(b)]) + b for b in blocks) + b"\0" + TRAILER)
