"""Answers that last as long as their client listens."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi.responses import StreamingResponse
from starlette.types import Send


class ClosingStream(StreamingResponse):
    """A stream whose generator is closed at once when the client leaves, not when it is found."""

    async def stream_response(self, send: Send) -> None:
        """Send it."""
        assert isinstance(self.body_iterator, AsyncGenerator)
        async with aclosing(self.body_iterator):
            await super().stream_response(send)
