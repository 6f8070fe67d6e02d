"""The empty application: each error is one sentence, and its end is told."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException

from derain.pipeline.web.access import Access
from derain.pipeline.web.app import create_app, describe
from derain.pipeline.web.server import WebServer

Serve = Callable[..., WebServer]


def ask(server: WebServer, path: str, method: str = "GET") -> tuple[int, Any, str | None]:
    """Status, body and a header of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request(method, path)
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read()), answer.getheader("x-more")
    connection.close()
    return found


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("/nowhere", 404, "There is nothing here; the page is at /."),
        ("/fails", 400, "This cannot be done; do that."),
        ("/number?value=secret", 400, "value: Input should be a valid integer"),
        ("/number", 400, "value: Field required."),
    ],
)
def test_an_error_is_one_sentence(serve: Serve, path: str, status: int, sentence: str) -> None:
    found, body, _ = ask(serve(), path)
    assert found == status and set(body) == {"error"}
    assert body["error"].startswith(sentence)
    assert "secret" not in body["error"]  # never the value that came


def test_a_route_may_say_itself_what_is_not_there(serve: Serve, app: FastAPI) -> None:
    @app.get("/job")
    def job() -> None:
        raise HTTPException(404, "There is no such job.")

    @app.get("/busy")
    def busy() -> None:
        raise HTTPException(409, "The job is under way.", {"X-More": "1"})

    server = serve()
    assert ask(server, "/job") == (404, {"error": "There is no such job."}, None)
    assert ask(server, "/busy") == (409, {"error": "The job is under way."}, "1")
    assert ask(server, "/job", "POST")[0] == 405


def test_routes_are_described_where_that_is_asked_for(serve: Serve) -> None:
    for openapi, status in ((None, 404), ("/openapi.json", 200)):
        server = serve(create_app(Access(None, "c"), "title", openapi=openapi))
        assert ask(server, "/openapi.json")[0] == status
        assert ask(server, "/docs")[0] == 404


def test_the_end_of_the_server_is_awaited(serve: Serve) -> None:
    ended: list[bool] = []

    async def close() -> None:
        ended.append(True)

    server = serve(create_app(Access(None, "c"), "title", closing=close))
    assert not ended
    server.shutdown()
    assert ended == [True]


def test_places_in_bodies_are_named_in_full() -> None:
    error = {"loc": ("body", "protect", 0), "msg": "Value error"}
    assert describe(error) == "protect.0: Value error"
    assert describe({"loc": ("query",), "msg": "wrong"}) == "wrong"
