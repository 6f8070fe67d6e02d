"""WebRTC for the page: what the broadcaster shows, as VP8, for lines too thin for MJPEG.

Needs aiortc (`pip install 'derain[webrtc]'`). The browser offers, http.py hands the offer on,
and the answer tells where the frames come from: UDP, encrypted, for that browser alone. Nobody
outside is asked for addresses (no STUN), so browser and server must reach each other directly.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import VideoFrame

from derain.models.errors import DerainError
from derain.pipeline.live.preview import Broadcaster, PreviewFrame
from derain.pipeline.live.stats import Times

CLOCK = 90000  # of RTP video
CONNECT_SECONDS = 15.0  # until an offer that did not become a connection is closed
OVER = ("failed", "closed")


class BroadcastTrack(MediaStreamTrack):
    """The rainy frame above a view, each frame once; whoever is late misses some."""

    kind = "video"

    def __init__(self, broadcaster: Broadcaster, view: str, times: Times) -> None:
        super().__init__()
        self.frames = broadcaster.frames()
        self.view, self.times = view, times
        self.began = time.perf_counter()

    async def recv(self) -> VideoFrame:
        """The next frame, as aiortc's encoder wants it."""
        shown = await anext(self.frames, None)
        if shown is None or self.readyState != "live":
            raise MediaStreamError
        return await asyncio.get_running_loop().run_in_executor(None, self._convert, shown)

    def _convert(self, shown: PreviewFrame) -> VideoFrame:
        began = time.perf_counter()
        pair = np.concatenate([shown.rainy(), shown.image(self.view)])
        even = pair[:, : pair.shape[1] // 2 * 2]  # as VP8's chroma wants; two heights are even
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        frame.pts = round(CLOCK * (began - self.began))
        frame.time_base = Fraction(1, CLOCK)
        self.times.add(shown.seen({"convert": time.perf_counter() - began}))
        return frame


class Connections:
    """All WebRTC viewers of a broadcaster. To be used in one event loop."""

    def __init__(self, broadcaster: Broadcaster) -> None:
        self.broadcaster = broadcaster
        self._open: dict[RTCPeerConnection, Callable[[], object]] = {}

    async def answer(self, offer: str, view: str, times: Times, gone: Callable[[], object]) -> str:
        """Answer a browser's offer.

        Args:
            offer: the browser's SDP.
            view: what it wants to see.
            times: where the durations of its frames are noted.
            gone: called when that viewer has left, or has not connected in time.

        Returns:
            The SDP of the answer.

        Raises:
            DerainError: this is no offer to receive video.
        """
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        track = BroadcastTrack(self.broadcaster, view, times)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
                connection.addTrack(track)
                await connection.setLocalDescription(await connection.createAnswer())
        except BaseException as error:
            await connection.close()
            if isinstance(error, Exception):  # whatever aiortc's parser stumbles over
                raise DerainError("This is no WebRTC offer to receive video.") from error
            raise
        self._open[connection] = gone

        @connection.on("connectionstatechange")
        async def changed() -> None:
            if connection.connectionState in OVER:
                await self._drop(connection)

        asyncio.get_running_loop().create_task(self._await_connection(connection))
        return str(connection.localDescription.sdp)

    async def close(self) -> None:
        """End all of them."""
        for connection in list(self._open):
            await self._drop(connection)

    async def _await_connection(self, connection: RTCPeerConnection) -> None:
        await asyncio.sleep(CONNECT_SECONDS)
        if connection.connectionState != "connected":
            await self._drop(connection)

    async def _drop(self, connection: RTCPeerConnection) -> None:
        gone = self._open.pop(connection, None)
        if gone is not None:
            gone()
            for sender in connection.getSenders():
                if sender.track is not None:
                    sender.track.stop()
            await connection.close()
