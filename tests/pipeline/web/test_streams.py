"""A stream is closed as soon as its client leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.types import Message

from derain.pipeline.web.streams import ClosingStream


def test_the_generator_ends_with_its_client() -> None:
    closed: list[bool] = []
    sent: list[bytes] = []

    async def forever() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"piece"
        finally:
            closed.append(True)

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))
        if len(sent) > 3:
            raise OSError("the client has left")

    with pytest.raises(OSError, match="has left"):
        asyncio.run(ClosingStream(forever()).stream_response(send))
    assert closed == [True]
    assert sent == [b"", b"piece", b"piece", b"piece"]
