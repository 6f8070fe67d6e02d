"""An empty application behind the guard, served at a free port of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from derain.models.errors import DerainError
from derain.pipeline.web.access import Access
from derain.pipeline.web.app import create_app
from derain.pipeline.web.server import WebServer

Serve = Callable[..., WebServer]
BLOCK = b"x" * (1 << 16)


async def _blocks() -> AsyncIterator[bytes]:
    while True:
        yield BLOCK
        await asyncio.sleep(0)


@pytest.fixture
def app() -> FastAPI:
    """Routes that answer with a number, an endless body, and a sentence about a failure."""
    app = create_app(Access(None, "cookie"), "a test")

    @app.get("/number")
    def number(value: int) -> int:
        return value

    @app.get("/endless")
    def endless() -> StreamingResponse:
        return StreamingResponse(_blocks())

    @app.get("/fails")
    def fails() -> None:
        raise DerainError("This cannot be done; do that.")

    return app


@pytest.fixture
def serve(app: FastAPI) -> Iterator[Serve]:
    """`serve(app)`: a running server, of the application above if of none, ended at the end."""
    running: list[WebServer] = []

    def start(chosen: FastAPI = app) -> WebServer:
        server = WebServer(chosen, ("127.0.0.1", 0))
        running.append(server)
        server.start()
        return server

    yield start
    for each in running:
        each.shutdown()
