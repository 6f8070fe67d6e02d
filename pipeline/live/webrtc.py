"""WebRTC for the page: what the hub shows, as VP8, for lines too thin for MJPEG.

Needs aiortc (`pip install 'derain[webrtc]'`). The browser offers, http.py hands the offer on,
and the answer tells where the pictures come from: UDP, encrypted, for that browser alone. Nobody
outside is asked for addresses (no STUN), so browser and server must reach each other directly.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import VideoFrame

from derain.models.errors import DerainError
from derain.pipeline.live.preview import Hub
from derain.pipeline.live.stats import Times

CLOCK = 90000  # of RTP video
PATIENCE = 20.0  # seconds for an answer
OVER = ("failed", "closed")


class HubTrack(MediaStreamTrack):
    """The rainy frame above a view, each frame of the hub once; whoever is late misses some."""

    kind = "video"

    def __init__(self, hub: Hub, view: str, times: Times) -> None:
        super().__init__()
        self.hub, self.view, self.times = hub, view, times
        self.last = 0
        self.began = time.perf_counter()

    async def recv(self) -> VideoFrame:
        """The next frame, as aiortc's encoder wants it."""
        return await asyncio.get_running_loop().run_in_executor(None, self._next)

    def _next(self) -> VideoFrame:
        shown = None
        while shown is None:
            if self.hub.closed or self.readyState != "live":
                raise MediaStreamError
            shown = self.hub.wait(self.last)
        self.last = shown.number
        began = time.perf_counter()
        pair = np.concatenate([shown.rainy(), shown.picture(self.view)])
        even = pair[:, : pair.shape[1] // 2 * 2]  # as VP8's chroma wants; two heights are even
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        frame.pts = round(CLOCK * (began - self.began))
        frame.time_base = Fraction(1, CLOCK)
        self.times.add(shown.seen({"convert": time.perf_counter() - began}))
        return frame


class Connections:
    """All WebRTC viewers of a hub, on an event loop with a thread of its own."""

    def __init__(self, hub: Hub, viewers: int) -> None:
        self.hub = hub
        self.loop = asyncio.new_event_loop()
        # Each viewer waits for a frame or encodes one.
        self.loop.set_default_executor(ThreadPoolExecutor(viewers, "webrtc"))
        self._open: set[RTCPeerConnection] = set()
        threading.Thread(target=self.loop.run_forever, name="webrtc", daemon=True).start()

    def answer(self, offer: str, view: str, times: Times, gone: Callable[[], object]) -> str:
        """Answer a browser's offer (both SDP); `gone` is called when that viewer has left.

        Raises:
            DerainError: this is no offer for a picture.
        """
        work = self._answer(offer, HubTrack(self.hub, view, times), gone)
        try:
            return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE)
        except Exception as error:  # whatever aiortc's parser stumbles over
            raise DerainError("This is no WebRTC offer to receive video.") from error

    async def _answer(self, offer: str, track: HubTrack, gone: Callable[[], object]) -> str:
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))

        @connection.on("connectionstatechange")
        async def changed() -> None:
            if connection.connectionState in OVER and connection in self._open:
                self._open.remove(connection)
                track.stop()
                gone()
                await connection.close()

        try:
            await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            connection.addTrack(track)
            await connection.setLocalDescription(await connection.createAnswer())
        except BaseException:
            await connection.close()
            raise
        self._open.add(connection)
        found: Any = connection.localDescription.sdp
        return str(found)
