"""Clients that send or read slowly: they cost a connection, and keep nobody out."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from derain.pipeline.web import protocol
from derain.pipeline.web.server import WebServer

Serve = Callable[..., WebServer]
PATIENCE = 60.0
HEAD = b"GET /number?value=7 HTTP/1.1\r\nHost: 127.0.0.1\r\n"


def connect(server: WebServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), PATIENCE)


def answers(connection: socket.socket) -> bool:
    connection.sendall(HEAD + b"\r\n")
    return connection.recv(65536).startswith(b"HTTP/1.1 200 OK")


def ended(connection: socket.socket) -> bool:
    """Whether the server ends it, before it has answered anything."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_who_sends_nothing_keeps_nobody_out(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "WAITING", 4)
    server = serve()
    silent = [connect(server) for _ in range(12)]
    with connect(server) as client:
        assert answers(client)
        assert answers(client)  # the same connection waits for its next request
    assert ended(silent[0])  # the one that waited longest had to go
    for each in silent:
        each.close()


def test_a_request_has_to_come_in_time_as_a_whole(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    server = serve()
    with connect(server) as slow:
        slow.settimeout(0.05)
        for letter in HEAD + b"X-Slow: " + b"a" * 1000:
            try:
                slow.sendall(bytes([letter]))
                assert slow.recv(1) == b""
                break
            except TimeoutError:
                continue
            except OSError:
                break
        else:
            pytest.fail("a byte at a time was waited for")


def test_an_answer_may_take_longer_than_a_request(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.1)
    with connect(serve()) as viewer:
        viewer.sendall(HEAD.replace(b"/number?value=7", b"/endless") + b"\r\n")
        for _ in range(400):  # some megabytes
            assert viewer.recv(1 << 16)


def test_who_does_not_read_is_cut_off(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "STALL_SECONDS", 0.2)
    lost: list[bool] = []
    right = protocol.GuardedProtocol.connection_lost

    def note(self: protocol.GuardedProtocol, exc: Exception | None) -> None:
        lost.append(True)
        right(self, exc)

    monkeypatch.setattr(protocol.GuardedProtocol, "connection_lost", note)
    with connect(serve()) as stalled:
        stalled.sendall(HEAD.replace(b"/number?value=7", b"/endless") + b"\r\n")
        until = PATIENCE
        while not lost and until > 0:
            time.sleep(0.02)
            until -= 0.02
        assert lost
