"""The browser preview: one page, its picture as MJPEG, its numbers and controls as JSON.

    GET  /                          the page
    GET  /stream?view=V[&pair=1]    multipart JPEG, each part with X-Frame and X-Age (milliseconds)
    GET  /stats[?viewer=N]          `Live.status`, with the latencies of that viewer
    GET  /snapshot.png?view=V       the newest frame
    POST /control                   JSON: streaks, haze, model, paused, new_shot
    POST /offer?view=V              a WebRTC offer (SDP); its answer, where aiortc is installed

Camera pictures are private: without a token only this machine is answered, and only pages of this
server may ask. The standard library's server is enough: a thread to a viewer, which sleeps until a
frame comes.
"""

from __future__ import annotations

import hmac
import json
import os
import socket
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from importlib.util import find_spec
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from derain.models.errors import DerainError, UsageError
from derain.pipeline.live.preview import DERAINED
from derain.pipeline.live.session import Live
from derain.pipeline.live.stats import Times
from derain.pipeline.streaming.layer_images import FIELDS

if TYPE_CHECKING:
    from derain.pipeline.live.webrtc import Connections

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
EVERYWHERE = {"0.0.0.0", "::"}  # to listen at, not to go to
VIEWERS = 32  # at the same time
SEND_BUFFER = 1 << 17  # bytes: a slow viewer must not fill megabytes with frames of the past
REPEAT = 5.0  # seconds without a new frame after which the last is sent again: is anybody there?
LARGEST = {"/control": 4096, "/offer": 1 << 16}  # bytes of a request
COOKIE = "derain"
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; frame-ancestors 'none'"
)
CONTROLS = {"streaks": float, "haze": float, "model": str, "paused": bool, "new_shot": bool}


def parse_address(text: str) -> tuple[str, int]:
    """`127.0.0.1:8000`, `[::1]:8000`, `:8000` or `8000` to host and port.

    Raises:
        UsageError: it is none of these.
    """
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"--http takes an address such as 127.0.0.1:8000, not '{text}'.")
    return host.strip("[]") or "127.0.0.1", int(port)


def own_address() -> str:
    """The address of this machine that its network knows; its name where there is no network."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it only chooses the way out
            return str(probe.getsockname()[0])
    except OSError:
        return socket.gethostname()


def open_webrtc(live: Live) -> Connections | None:
    """WebRTC's side of the server, where aiortc is installed."""
    if find_spec("aiortc") is None:
        return None
    from derain.pipeline.live.webrtc import Connections

    return Connections(live.hub, VIEWERS)


class LiveServer(ThreadingHTTPServer):
    """Serve one `Live`.

    Args:
        live: what to show.
        address: host and port; port 0 takes a free one.
        token: asked of everybody; without one the host must be this machine's loopback.

    Raises:
        DerainError: the port is taken, or the address needs a token.
    """

    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # elsewhere it would share a port that is taken

    def __init__(self, live: Live, address: tuple[str, int], token: str | None = None) -> None:
        host, port = address
        if token is None and host not in LOOPBACK:
            raise DerainError(f"Others can reach {host}; choose a secret for them with --token.")
        self.live, self.token = live, token
        self.viewers: dict[int, Times] = {}
        self.numbers = count(1)
        self.webrtc = open_webrtc(live)
        self.page = files("derain.pipeline.live").joinpath("page.html").read_bytes()
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), Handler)
        except OSError as error:
            raise DerainError(
                f"The page cannot be served on {host}:{port} ({error.strerror}); "
                "choose another --http."
            ) from error

    @property
    def url(self) -> str:
        """Where the page is, with the token; for others the name of this machine."""
        host, port = str(self.server_address[0]), self.server_address[1]
        shown = own_address() if host in EVERYWHERE else host
        shown = f"[{shown}]" if ":" in shown else shown
        return f"http://{shown}:{port}/" + (f"?token={self.token}" if self.token else "")

    def start(self) -> LiveServer:
        """Serve in a thread of its own."""
        threading.Thread(target=self.serve_forever, name="http", daemon=True).start()
        return self

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Viewers come and go as they like; that is no error."""


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: LiveServer
    server_version, sys_version = "derain", ""
    timeout = 20.0  # of a viewer that does not read
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal belongs to the user."""

    def do_GET(self) -> None:
        """The page, the stream, numbers and snapshots."""
        url = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        if not self._allowed(query):
            return
        view = query.get("view", DERAINED)
        if view != DERAINED and view not in FIELDS:
            self._refuse(HTTPStatus.NOT_FOUND, f"There is no view '{view}'.")
        elif url.path == "/":
            self._send(self.server.page, "text/html; charset=utf-8", self._keep_token(query))
        elif url.path == "/stats":
            self._stats(query.get("viewer", ""))
        elif url.path == "/stream":
            self._stream(view, "pair" in query)
        elif url.path == "/snapshot.png":
            self._snapshot(view)
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "There is nothing here; the page is at /.")

    def do_POST(self) -> None:
        """Controls, and offers of WebRTC."""
        url = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        if not self._allowed(query):
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > LARGEST.get(url.path, -1):
            return self._refuse(HTTPStatus.BAD_REQUEST, "This takes POST /control with JSON.")
        body = self.rfile.read(int(length))
        try:
            if url.path == "/offer":
                return self._offer(body, query.get("view", DERAINED))
            self.server.live.control(**read_controls(body))
        except DerainError as error:
            return self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        self._stats("")

    # Who may ask

    def _allowed(self, query: dict[str, str]) -> bool:
        """Whether this request may be answered; refuses it if not."""
        host = self.headers.get("Host", "")
        origin = self.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != host:
            self._refuse(HTTPStatus.FORBIDDEN, "Only pages of this server may ask.")
            return False
        token = self.server.token
        if token is None:
            # A foreign name that leads here is a page of somebody else that looks for cameras.
            if urlsplit(f"//{host}").hostname in LOOPBACK:
                return True
            self._refuse(HTTPStatus.FORBIDDEN, "Open this page as http://127.0.0.1.")
            return False
        pairs = (x.strip().partition("=") for x in self.headers.get("Cookie", "").split(";"))
        cookies = {name: value for name, _, value in pairs}
        shown = (query.get("token"), cookies.get(COOKIE))
        if any(x and hmac.compare_digest(x.encode(), token.encode()) for x in shown):
            return True
        self._refuse(HTTPStatus.FORBIDDEN, "The token is wrong or missing; ask for the address.")
        return False

    def _keep_token(self, query: dict[str, str]) -> dict[str, str]:
        """The header that lets the page go on without the token in every address."""
        if self.server.token is None or "token" not in query:
            return {}
        return {"Set-Cookie": f"{COOKIE}={query['token']}; HttpOnly; SameSite=Strict; Path=/"}

    # Answers

    def _send(self, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self._headers(HTTPStatus.OK, kind, {"Content-Length": str(len(body))} | (headers or {}))
        self.wfile.write(body)

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        body = json.dumps({"error": text}).encode()
        self._headers(status, "application/json", {"Content-Length": str(len(body))})
        self.wfile.write(body)

    def _headers(self, status: HTTPStatus, kind: str, more: dict[str, str]) -> None:
        self.send_response(status)
        policy = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
        for key, value in ({"Content-Type": kind, "Cache-Control": "no-store"} | policy).items():
            self.send_header(key, value)
        for key, value in more.items():
            self.send_header(key, value)
        self.end_headers()

    def _stats(self, viewer: str) -> None:
        times = self.server.viewers.get(int(viewer)) if viewer.isdecimal() else None
        server = self.server
        more = {"viewers": len(server.viewers), "webrtc": server.webrtc is not None}
        self._send(json.dumps(server.live.status(times) | more).encode(), "application/json")

    def _snapshot(self, view: str) -> None:
        shown = self.server.live.hub.newest
        if shown is None:
            return self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "No frame has come yet; wait.")
        name = f"derain-{view}-{shown.number:06d}.png"
        kept = {"Content-Disposition": f'attachment; filename="{name}"'}
        self._send(shown.png(view), "image/png", kept)

    def _offer(self, body: bytes, view: str) -> None:
        server = self.server
        if server.webrtc is None:
            raise DerainError("WebRTC is not installed: pip install 'derain[webrtc]'.")
        if len(server.viewers) >= VIEWERS:
            return self._full()
        number, times = next(server.numbers), Times()
        offer = body.decode(errors="replace")
        answer = server.webrtc.answer(offer, view, times, lambda: server.viewers.pop(number, None))
        server.viewers[number] = times
        self._send(answer.encode(), "application/sdp", {"X-Viewer": str(number)})

    def _full(self) -> None:
        text = "Too many are looking; close another page."
        self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, text)

    def _stream(self, view: str, pair: bool) -> None:
        server = self.server
        if len(server.viewers) >= VIEWERS:
            return self._full()
        number, times = next(server.numbers), Times()
        server.viewers[number] = times
        try:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            kind = "multipart/x-mixed-replace; boundary=frame"
            self._headers(HTTPStatus.OK, kind, {"X-Viewer": str(number)})
            with suppress(OSError):  # gone, or not reading
                self._frames(view, pair, times)
        finally:
            del server.viewers[number]
            self.close_connection = True

    def _frames(self, view: str, pair: bool, times: Times) -> None:
        hub, last = self.server.live.hub, 0
        while not hub.closed:
            shown = hub.wait(last, REPEAT) or hub.newest
            if shown is None:
                continue
            data, spent = shown.jpeg(view, pair)
            age = 1e3 * (time.perf_counter() - shown.frame.captured)
            head = (
                f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n"
                f"X-Frame: {shown.number}\r\nX-Age: {age:.1f}\r\n\r\n"
            )
            self.wfile.write(head.encode() + data + b"\r\n")
            if shown.number > last:
                times.add(shown.seen(spent))
            last = shown.number


def read_controls(body: bytes) -> dict[str, Any]:
    """The arguments of `Live.control` from a request's JSON.

    Raises:
        DerainError: it is no JSON, or not of these names and types.
    """
    try:
        found = json.loads(body)
        values = {
            # A whole number is a share too, but True is none.
            key: float(value) if CONTROLS[key] is float and type(value) is int else value
            for key, value in found.items()
        }
    except (ValueError, AttributeError, KeyError) as error:
        raise DerainError(f"Controls are JSON with {', '.join(CONTROLS)}.") from error
    for key, value in values.items():
        if not isinstance(value, CONTROLS[key]):
            raise DerainError(f"{key} is a {CONTROLS[key].__name__}, not {value!r}.")
    return values
