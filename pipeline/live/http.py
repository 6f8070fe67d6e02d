"""The browser preview: one page, its frames as MJPEG, its numbers and controls as JSON.

    GET  /                          the page
    GET  /stream?view=V[&pair=1]    multipart JPEG, each part with X-Frame and X-Age (milliseconds)
    GET  /stats[?viewer=N]          `Live.status`, with the latencies of that viewer
    GET  /snapshot.png?view=V       the newest frame
    POST /control                   JSON: streaks, haze, boldness, model, paused, new_shot
    POST /offer?view=V              a WebRTC offer (SDP); its answer, where aiortc is installed

What cameras see is private: who may ask is web/access.py's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from importlib.resources import files
from importlib.util import find_spec
from itertools import count
from typing import TYPE_CHECKING

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from derain.models.errors import DerainError
from derain.pipeline.live.preview import DERAINED
from derain.pipeline.live.session import Live
from derain.pipeline.live.stats import Times
from derain.pipeline.streaming.layer_images import FIELDS
from derain.pipeline.web.access import Access
from derain.pipeline.web.app import create_app
from derain.pipeline.web.server import WebServer
from derain.pipeline.web.streams import ClosingStream

if TYPE_CHECKING:
    from derain.pipeline.live.webrtc import Connections

VIEWERS = 32  # at the same time
REPEAT = 5.0  # seconds without a new frame after which the last is sent again: is anybody there?
COOKIE = "derain"


class Controls(BaseModel):
    """What a viewer may change; what is None stays."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    streaks: float | None = Field(None, ge=0, le=1)
    haze: float | None = Field(None, ge=0, le=1)
    boldness: float | None = Field(None, ge=0, le=1)
    model: str | None = Field(None, max_length=100)
    paused: bool | None = None
    new_shot: bool = False


class LiveServer(WebServer):
    """Serve one `Live`; see `WebServer` for `address`, `token` and what is raised."""

    def __init__(self, live: Live, address: tuple[str, int], token: str | None = None) -> None:
        self.live, self.access = live, Access(token, COOKIE)
        self.viewers: dict[int, Times] = {}
        self.numbers = count(1)
        self.webrtc = open_webrtc(live)
        self.page = files("derain.pipeline.live").joinpath("page.html").read_text("utf-8")
        app = create_app(self.access, "derain live", closing=self._close)
        app.include_router(self._routes())
        super().__init__(app, address, token)

    async def _close(self) -> None:
        if self.webrtc is not None:
            await self.webrtc.close()

    def _routes(self) -> APIRouter:
        """Plain functions run in threads, so that none holds up the frames of others."""
        router, live = APIRouter(), self.live

        @router.get("/")
        def page(request: Request) -> Response:
            return self.access.page(request, self.page)

        @router.get("/stats")
        def stats(viewer: str = "") -> Response:
            return JSONResponse(self.status(viewer))

        @router.post("/control")
        def control(controls: Controls) -> Response:
            live.control(**controls.model_dump())
            return JSONResponse(self.status())

        @router.get("/snapshot.png")
        def snapshot(view: str = DERAINED) -> Response:
            shown = live.broadcaster.newest
            if shown is None:
                raise HTTPException(503, "No frame has come yet; wait.")
            name = f"derain-{known(view)}-{shown.number:06d}.png"
            kept = {"Content-Disposition": f'attachment; filename="{name}"'}
            return Response(shown.png(view), media_type="image/png", headers=kept)

        @router.get("/stream")
        async def stream(view: str = DERAINED, pair: bool = False) -> Response:
            number, times = self.enter(known(view))
            parts = self.parts(view, pair, number, times)
            kind = "multipart/x-mixed-replace; boundary=frame"
            return ClosingStream(parts, media_type=kind, headers={"X-Viewer": str(number)})

        @router.post("/offer")
        async def offer(request: Request, view: str = DERAINED) -> Response:
            if self.webrtc is None:
                raise DerainError("WebRTC is not installed: pip install 'derain[webrtc]'.")
            sdp = (await request.body()).decode(errors="replace")
            number, times = self.enter(known(view))
            try:
                answer = await self.webrtc.answer(sdp, view, times, lambda: self.leave(number))
            except BaseException:
                self.leave(number)
                raise
            headers = {"X-Viewer": str(number)}
            return Response(answer, media_type="application/sdp", headers=headers)

        return router

    def status(self, viewer: str = "") -> dict[str, object]:
        """What the page shows beside the image; latencies are those of `viewer`."""
        number = int(viewer) if viewer.isdecimal() and len(viewer) < 10 else 0
        more = {"viewers": len(self.viewers), "webrtc": self.webrtc is not None}
        return self.live.status(self.viewers.get(number)) | more

    def enter(self, view: str) -> tuple[int, Times]:
        """Count a viewer in: its number, and where its durations are noted."""
        if len(self.viewers) >= VIEWERS:
            raise HTTPException(503, "Too many are looking; close another page.")
        number, times = next(self.numbers), Times()
        self.viewers[number] = times
        return number, times

    def leave(self, number: int) -> None:
        """Count a viewer out."""
        self.viewers.pop(number, None)

    async def parts(
        self, view: str, pair: bool, number: int, times: Times
    ) -> AsyncGenerator[bytes, None]:
        """Frames as parts of a multipart answer, each the newest when the one before is taken.

        Args:
            view: what of a frame.
            pair: whether the rainy frame comes above it.
            number, times: the viewer's; it is counted out at the end.
        """
        loop, last = asyncio.get_running_loop(), 0
        try:
            async with aclosing(self.live.broadcaster.frames(REPEAT)) as frames:
                async for shown in frames:
                    data, spent = await loop.run_in_executor(None, shown.jpeg, view, pair)
                    age = 1e3 * (time.perf_counter() - shown.frame.captured)
                    head = (
                        f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n"
                        f"X-Frame: {shown.number}\r\nX-Age: {age:.1f}\r\n\r\n"
                    )
                    yield head.encode() + data + b"\r\n"
                    yield b""  # the server asks for more when the client has read enough
                    if shown.number > last:
                        times.add(shown.seen(spent))
                    last = shown.number
        finally:
            self.leave(number)


def known(view: str) -> str:
    """The view, where there is one of that name."""
    if view != DERAINED and view not in FIELDS:
        raise HTTPException(404, "There is no such view.")
    return view


def open_webrtc(live: Live) -> Connections | None:
    """WebRTC's side of the server, where aiortc is installed."""
    if find_spec("aiortc") is None:
        return None
    from derain.pipeline.live.webrtc import Connections

    return Connections(live.broadcaster)
