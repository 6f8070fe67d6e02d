"""Who may ask, as an ASGI middleware in front of every route.

Without a token the server is for this machine: the `Host` must be a loopback name, so that a
foreign name which leads here (DNS rebinding) is refused. With a token it must come as `?token=`, as
`Authorization: Bearer`, or in the cookie that the page sets. Either way other sites' pages are
refused by `Origin` and by `Sec-Fetch-Site`, bodies are bounded in size and time, and every answer
carries the headers that keep browsers from using it elsewhere.
"""

from __future__ import annotations

import asyncio
import hmac
import html
import re
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

from fastapi import HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from derain.models.errors import UsageError
from derain.pipeline.web.address import LOOPBACK

BODY = 1 << 16  # bytes of a request, where its route does not stream it
BODY_SECONDS = 10.0  # until a body that is not streamed is there
POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
REFUSED = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="dark light">
<title>derain</title>
<style nonce="NONCE">
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 15vh auto; padding: 1rem; }
</style>
<h1>This page does not open</h1>
<p>REASON</p>
</html>
"""
RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


@dataclass(frozen=True, slots=True)
class Access:
    """Settings of who may ask.

    `token` is the secret, `cookie` the name it is kept under (cookies do not know ports, so each
    kind of server has its own), `streamed` the paths whose body the route itself bounds.
    """

    token: str | None
    cookie: str
    streamed: tuple[str, ...] = ()

    def refusal(self, request: Request) -> str | None:
        """Why this request is not answered, None where it is."""
        try:
            host = urlsplit(f"//{request.headers.get('host', '')}")
            name, _ = host.hostname, host.port
            origin = request.headers.get("origin")
            foreign = origin is not None and urlsplit(origin).netloc != host.netloc
        except ValueError:
            raise HTTPException(400, "The Host or Origin of this request is no address.") from None
        if foreign or not _same_site(request):
            return "Only pages of this server may ask."
        if self.token is None:
            return None if name in LOOPBACK else "Open this page as http://127.0.0.1."
        # A token in the address must be right, whatever the cookie says.
        shown = request.query_params.get("token", _bearer(request))
        if shown is None:
            shown = request.cookies.get(self.cookie, "")
        if hmac.compare_digest(_bytes(shown), _bytes(self.token)):
            return None
        return "The token is wrong or missing; open the whole address that derain printed."

    def page(self, request: Request, text: str) -> HTMLResponse:
        """A page whose own scripts and styles run and no others; it keeps the token in a cookie.

        Args:
            request: what asks for the page.
            text: HTML with `NONCE` where the nonce of its scripts and styles goes.
        """
        answer = _page(text)
        if self.token is not None and "token" in request.query_params:
            # The server's own token, never what came with the request.
            answer.set_cookie(self.cookie, self.token, httponly=True, samesite="strict")
        return answer


def choose_token(token: str | None, host: str) -> str | None:
    """The secret of a server at `host`: the one given, else one made up where others reach it.

    Raises:
        UsageError: the one given has characters that addresses do not take.
    """
    if token is not None and not re.fullmatch(r"[\w.~-]+", token, re.ASCII):
        raise UsageError("--token takes letters, digits and -._~ alone.")
    return token if token is not None or host in LOOPBACK else secrets.token_urlsafe(12)


def _bearer(request: Request) -> str | None:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _same_site(request: Request) -> bool:
    """Whether the browser says that its user or a page of this server asks.

    Browsers that say nothing (and other programs) are judged by the rest. A link on another site
    may lead to a page, which can neither be framed nor read there.
    """
    headers = request.headers
    if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return True
    led_here = headers.get("sec-fetch-mode") == "navigate" and request.method == "GET"
    return led_here and headers.get("sec-fetch-dest") == "document" and request.url.path == "/"


def _page(text: str, status: int = 200, headers: dict[str, str] | None = None) -> HTMLResponse:
    """HTML with `NONCE` where the nonce of its scripts and styles goes; no others run."""
    nonce = secrets.token_urlsafe(16)
    answer = HTMLResponse(text.replace("NONCE", nonce), status, headers)
    answer.headers["Content-Security-Policy"] = (
        f"{POLICY}; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
        "img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self'"
    )
    return answer


def _refused(request: Request, status: int, reason: str) -> Response:
    """A sentence for programs, a page with it for people. The body was not read: all ends here."""
    ends = {"Connection": "close"}
    if request.headers.get("sec-fetch-dest") == "document":
        return _page(REFUSED.replace("REASON", html.escape(reason)), status, ends)
    return JSONResponse({"error": reason}, status, ends)


class AccessGuard:
    """The middleware: refuse, bound the body, add the headers."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; other kinds of connection (lifespan) pass."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = {name for name, _ in message["headers"]}
                more = [header for header in RAW_HEADERS if header[0] not in found]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        request = Request(scope)
        try:
            reason = self.access.refusal(request)
            status = 403
            if reason is None:
                receive = self._bounded(request, receive)
        except HTTPException as error:
            status, reason = error.status_code, str(error.detail)
        if reason is not None:
            return await _refused(request, status, reason)(scope, receive, send_with_headers)
        await self.app(scope, receive, send_with_headers)

    def _bounded(self, request: Request, receive: Receive) -> Receive:
        """`receive` for a body of bounded size that comes in bounded time."""
        if request.url.path in self.access.streamed:
            return receive
        declared = request.headers.get("content-length", "0")
        if not declared.isdecimal() or len(declared) > 12 or int(declared) > BODY:
            raise HTTPException(413, f"This takes at most {BODY} bytes.")
        left = BODY
        loop = asyncio.get_running_loop()
        until: float | None = loop.time() + BODY_SECONDS

        async def bounded() -> Message:
            nonlocal left, until
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "The request did not come in time.") from None
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, f"This takes at most {BODY} bytes.")
            if not message.get("more_body", False):
                until = None  # what comes now is that the client leaves, whenever that is
            return message

        return bounded
