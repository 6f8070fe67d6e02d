"""Who may ask: tokens, hosts, other sites' pages, and bodies that are bounded."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from starlette.types import Message

from derain.models.errors import UsageError
from derain.pipeline.web.access import BODY, Access, AccessGuard, choose_token

HOST = "127.0.0.1:8000"


@dataclass
class Answer:
    """What the server sent."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def ask(
    access: Access, path: str = "/", query: str = "", pieces: tuple[bytes, ...] = (), **headers: str
) -> Answer:
    """One request to a server with a page that keeps the token and a route that counts bytes."""
    app = FastAPI()
    app.add_middleware(AccessGuard, access=access)

    @app.get("/")
    def page(request: Request) -> HTMLResponse:
        return access.page(request, "<script nonce=NONCE></script>")

    @app.post("/{name}")
    async def count(request: Request, name: str) -> int:
        return len(await request.body())

    sent = {"host": HOST} | {name.replace("_", "-").lower(): text for name, text in headers.items()}
    scope: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST" if pieces else "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), text.encode()) for name, text in sent.items()],
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 9),
    }
    answer, rest = Answer(), list(pieces or (b"",))

    async def receive() -> Message:
        piece = rest.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(rest)}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): text.decode() for name, text in message["headers"]}
        else:
            answer.body += message.get("body", b"")

    asyncio.run(app(scope, receive, send))
    return answer


@pytest.mark.parametrize(
    ("host", "status"),
    [(HOST, 200), ("localhost", 200), ("[::1]:1", 200), ("evil.example", 403), ("[oops", 400)],
)
def test_without_a_token_this_machine_alone_is_answered(host: str, status: int) -> None:
    assert ask(Access(None, "c"), host=host).status == status


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("", {}, 403),
        ("token=secret", {}, 200),
        ("token=wrong", {"cookie": "c=secret"}, 403),
        ("", {"authorization": "Bearer secret"}, 200),
        ("", {"authorization": "Basic secret"}, 403),
        ("", {"cookie": "c=secret"}, 200),
        ("", {"cookie": "other=secret"}, 403),
    ],
)
def test_the_token_comes_in_one_of_three_ways(
    query: str, headers: dict[str, str], status: int
) -> None:
    assert (
        ask(Access("secret", "c"), query=query, **{"host": "any.host"} | headers).status == status
    )


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": f"http://{HOST}"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"sec_fetch_site": "same-origin"}, 200),
        ({"sec_fetch_site": "cross-site"}, 403),
        (
            {
                "sec_fetch_site": "cross-site",
                "sec_fetch_mode": "navigate",
                "sec_fetch_dest": "document",
            },
            200,
        ),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}, 403),
    ],
)
def test_pages_of_other_sites_may_lead_here_and_no_more(
    headers: dict[str, str], status: int
) -> None:
    assert ask(Access(None, "c"), **headers).status == status


def test_the_page_keeps_the_servers_token_and_runs_its_own_scripts() -> None:
    answer = ask(Access("secret", "c"), query="token=secret")
    cookie = answer.headers["set-cookie"].lower()
    assert "c=secret" in cookie and "httponly" in cookie and "samesite=strict" in cookie
    nonce = answer.body.decode().split("nonce=")[1].split(">")[0]
    assert f"script-src 'nonce-{nonce}'" in answer.headers["content-security-policy"]
    assert "set-cookie" not in ask(Access(None, "c")).headers


def test_people_are_refused_by_a_page_and_programs_by_json() -> None:
    access = Access("secret", "cookie")
    page = ask(access, query="token=wrong", sec_fetch_dest="document")
    assert page.status == 403 and "set-cookie" not in page.headers
    assert page.headers["content-type"].startswith("text/html")
    assert b"open the whole address" in page.body and b"NONCE" not in page.body
    assert "error" in json.loads(ask(access, query="token=wrong").body)


def test_every_answer_has_the_headers_that_keep_it_here() -> None:
    access = Access("secret", "c")
    for answer in (ask(access), ask(access, query="token=secret")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_bodies_are_bounded_but_for_streamed_routes() -> None:
    access = Access(None, "c", streamed=("/films",))
    most, more = b"x" * BODY, b"x" * (BODY + 1)
    assert json.loads(ask(access, "/a", pieces=(most,)).body) == BODY
    assert ask(access, "/a", pieces=(more,), content_length=str(len(more))).status == 413
    assert ask(access, "/a", pieces=(most, b"x")).status == 413  # of undeclared length
    assert ask(access, "/a", pieces=(b"x",), content_length="many").status == 413
    assert json.loads(ask(access, "/films", pieces=(more,)).body) == BODY + 1


def test_servers_for_others_have_a_token_and_it_fits_into_addresses() -> None:
    assert choose_token(None, "127.0.0.1") is None
    made = choose_token(None, "0.0.0.0")
    assert made is not None and len(made) >= 16 and made != choose_token(None, "0.0.0.0")
    assert choose_token("a-b.c_~", "::1") == "a-b.c_~"
    for wrong in ("", "a b", "ä", "a/b"):
        with pytest.raises(UsageError, match="--token takes"):
            choose_token(wrong, "127.0.0.1")
