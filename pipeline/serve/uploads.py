"""Bodies of requests to files, a piece at a time, however large they are."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect

PIECE = 1 << 20  # bytes that are written at once
STALL = 60.0  # seconds until the next bytes must come
SPARE = 256 << 20  # bytes of the disk that uploads leave free

CLOSE = {"Connection": "close"}  # the rest of the body is not read


async def save_body(request: Request, path: Path, limit: int) -> int:
    """Write the body of a request to a file; how many bytes there were.

    Args:
        request: whose body nobody has read.
        path: a new file, which is removed if the body does not come whole.
        limit: bytes, at most.

    Raises:
        HTTPException: it is too large, does not come, or the disk is full.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and len(declared) < 16:
        _check(int(declared), path.parent, limit)
    try:
        return await _write(request, path, limit)
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, TimeoutError):
            raise HTTPException(408, "The upload came to a halt; send it again.") from None
        if isinstance(error, ClientDisconnect):
            raise HTTPException(400, "The upload broke off; send it again.") from None
        if isinstance(error, OSError):
            raise HTTPException(507, "The disk cannot take the film; make room.", CLOSE) from None
        raise


async def _write(request: Request, path: Path, limit: int) -> int:
    size, waiting = 0, bytearray()
    pieces = aiter(request.stream())
    with path.open("xb") as file:
        while True:
            async with asyncio.timeout(STALL):
                piece = await anext(pieces, None)
            if piece is None:
                break
            size += len(piece)
            waiting += piece
            if len(waiting) >= PIECE:
                _check(size, path.parent, limit)
                await asyncio.to_thread(file.write, bytes(waiting))
                waiting.clear()
        _check(size, path.parent, limit)
        await asyncio.to_thread(_finish, file.fileno(), bytes(waiting))
    return size


def _finish(descriptor: int, rest: bytes) -> None:
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.fsync(descriptor)


def _check(size: int, folder: Path, limit: int) -> None:
    if size > limit:
        text = f"The film is larger than the {limit / 1e9:g} GB that are taken here."
        raise HTTPException(413, text, CLOSE)
    if shutil.disk_usage(folder).free < SPARE:
        raise HTTPException(507, "The disk is full; make room.", CLOSE)
