"""The server: bound before anything is shown, ended when it is told."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Callable

import pytest
from fastapi import FastAPI

from derain.models.errors import DerainError
from derain.pipeline.web import server as module
from derain.pipeline.web.server import WebServer

Serve = Callable[..., WebServer]


def get(server: WebServer, path: str) -> bytes:
    with urllib.request.urlopen(f"{server.url.split('?')[0]}{path}", timeout=60) as answer:
        return bytes(answer.read())


def test_it_answers_when_start_returns_and_nobody_after_the_end(serve: Serve) -> None:
    server = serve()
    assert server.url == f"http://127.0.0.1:{server.port}/"
    assert get(server, "number?value=7") == b"7"
    server.shutdown()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port), 60)
    server.shutdown()  # once more does no harm


def test_others_need_a_token(app: FastAPI) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        with pytest.raises(DerainError, match=r"choose a secret for them with --token"):
            WebServer(app, (host, 0))
    server = WebServer(app, ("0.0.0.0", 0), "secret")
    assert server.url.endswith(f":{server.port}/?token=secret")
    assert "0.0.0.0" not in server.url
    server.shutdown()  # which was never started


def test_a_port_that_is_taken_is_a_sentence(serve: Serve, app: FastAPI) -> None:
    server = serve()
    with pytest.raises(DerainError, match="choose another --http"):
        WebServer(app, ("127.0.0.1", server.port))


def test_a_server_that_does_not_start_is_a_sentence(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.Server, "run", lambda self, sockets: None)
    server = WebServer(app, ("127.0.0.1", 0))
    with pytest.raises(DerainError, match="does not start; try again"):
        server.start()
    server.shutdown()
