"""WebRTC: what a browser gets of each frame, and offers that are none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from derain.models.errors import DerainError
from derain.pipeline.live.stats import Times

pytest.importorskip("aiortc", reason="needs aiortc: pip install 'derain[webrtc]'")

from aiortc import RTCPeerConnection
from aiortc.mediastreams import MediaStreamError

from derain.pipeline.live.webrtc import CLOCK, BroadcastTrack, Connections


class Shown:
    """A frame of odd width, 20 below and 200 above."""

    def rainy(self) -> np.ndarray:
        return np.full((48, 65, 3), 200, np.uint8)

    def image(self, view: str) -> np.ndarray:
        assert view == "derained"
        return np.full((48, 65, 3), 20, np.uint8)

    def seen(self, spent: dict[str, float]) -> dict[str, float]:
        return spent


def broadcaster(count: int) -> Any:
    """One that shows so many frames."""

    async def frames() -> AsyncIterator[Any]:
        for _ in range(count):
            yield Shown()

    return SimpleNamespace(frames=frames)


def test_a_viewer_gets_the_rainy_frame_above_the_view_and_its_end() -> None:
    times = Times()

    async def watch() -> list[Any]:
        track = BroadcastTrack(broadcaster(2), "derained", times)
        frames = [await track.recv(), await track.recv()]
        with pytest.raises(MediaStreamError):
            await track.recv()
        return frames

    first, second = asyncio.run(watch())
    assert (first.width, first.height) == (64, 96)
    image = first.to_ndarray(format="rgb24")
    assert (image[:48] == 200).all() and (image[48:] == 20).all()
    assert first.time_base * CLOCK == 1 and second.pts >= first.pts >= 0
    assert len(times) == 2


def test_what_is_no_offer_is_refused() -> None:
    async def ask(offer: str) -> None:
        connections = Connections(broadcaster(1))
        try:
            await connections.answer(offer, "derained", Times(), lambda: None)
        finally:
            await connections.close()

    for offer in ("", "nonsense", "v=0\r\nm=video"):
        with pytest.raises(DerainError, match="no WebRTC offer to receive video"):
            asyncio.run(ask(offer))


def test_a_viewer_who_leaves_is_told_once() -> None:
    gone: list[bool] = []

    async def offer_and_leave() -> str:
        client, connections = RTCPeerConnection(), Connections(broadcaster(1))
        client.addTransceiver("video", direction="recvonly")
        await client.setLocalDescription(await client.createOffer())
        offer = client.localDescription.sdp
        answer = await connections.answer(offer, "derained", Times(), lambda: gone.append(True))
        await connections.close()
        await connections.close()
        await client.close()
        return answer

    assert "VP8" in asyncio.run(offer_and_leave())
    assert gone == [True]
