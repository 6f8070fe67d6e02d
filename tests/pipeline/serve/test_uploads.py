"""Uploads that break off leave nothing."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

Start = Callable[..., Any]


def test_an_upload_that_breaks_off_leaves_nothing(within: Start) -> None:
    server = within()
    uploads = server.folder / ".derain-serve" / "uploads"

    def wait_until(there: bool) -> None:
        until = time.monotonic() + 60
        while bool(list(uploads.iterdir())) != there and time.monotonic() < until:
            time.sleep(0.01)
        assert bool(list(uploads.iterdir())) == there

    with socket.create_connection(("127.0.0.1", server.port)) as client:
        head = f"POST /api/jobs?name=a.mp4 HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        client.sendall(f"{head}Content-Length: 3000000\r\n\r\n".encode() + b"x" * 2_000_000)
        wait_until(there=True)
    wait_until(there=False)
    assert not server.ask("GET", "/api/jobs").json
