"""What viewers of a live image see: the newest frame, its bytes, and who tells of a new one.

Bytes are made when the first viewer asks, so a frame that nobody looks at costs nothing.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from derain.models.output import Output
from derain.pipeline.live.capture import LiveFrame
from derain.pipeline.streaming.layer_images import FIELDS, layers_as_images
from derain.pipeline.streaming.shot_runner import Finished
from derain.pipeline.video.color import to_bgr, to_bytes, to_float

DERAINED = "derained"
QUALITY = 85  # of JPEG


class PreviewFrame:
    """One derained frame for viewers. Bytes and JPEG are made once, when the first viewer asks.

    `times` are the durations so far, in seconds; `done` the moment the network finished.
    """

    def __init__(
        self, number: int, item: Finished, output: Output | None, times: dict[str, float]
    ) -> None:
        self.number, self.times, self.done = number, times, time.perf_counter()
        self.frame = cast(LiveFrame, item.frame)
        assert self.frame.rgb is not None
        self._rgb, self._change, self._output = self.frame.rgb, item.residual.whole(), output
        self._lock = threading.RLock()
        self._images: dict[str, NDArray[np.uint8]] = {}
        self._jpegs: dict[tuple[str, bool], bytes] = {}
        self._pngs: dict[str, bytes] = {}

    @property
    def views(self) -> list[str]:
        """What can be looked at: the derained image, and the layers that the network has."""
        layers = [x for x in FIELDS if self._output and getattr(self._output, x) is not None]
        return [DERAINED, *layers]

    def rainy(self) -> NDArray[np.uint8]:
        """The frame as it came, (H, W, 3) RGB."""
        return self._image("rainy", lambda: to_bytes(self._rgb))

    def image(self, view: str = DERAINED) -> NDArray[np.uint8]:
        """A view, (H, W, 3) RGB; the derained image where the network lacks the layer."""
        if view not in self.views:
            view = DERAINED
        if view != DERAINED:
            return self._image(view, lambda: self._layer(view))
        return self._image(view, lambda: to_bytes(to_float(self._rgb) + self._change))

    def jpeg(self, view: str = DERAINED, pair: bool = False) -> tuple[bytes, dict[str, float]]:
        """A view as JPEG, and the seconds that conversion and encoding took this caller.

        `pair` puts the rainy frame above it, for a viewer that compares.
        """
        began = time.perf_counter()
        with self._lock:
            image = self.image(view)
            if pair:
                image = np.concatenate([self.rainy(), image])
            converted = time.perf_counter()
            if (view, pair) not in self._jpegs:
                quality = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
                _, data = cv2.imencode(".jpg", to_bgr(image), quality)
                self._jpegs[view, pair] = data.tobytes()
            encoded = time.perf_counter()
            spent = {"convert": converted - began, "jpeg": encoded - converted}
            return self._jpegs[view, pair], spent

    def png(self, view: str = DERAINED) -> bytes:
        """A view as PNG."""
        with self._lock:
            if view not in self._pngs:
                _, data = cv2.imencode(".png", to_bgr(self.image(view)))
                self._pngs[view] = data.tobytes()
            return self._pngs[view]

    def seen(self, spent: dict[str, float]) -> dict[str, float]:
        """All durations of this frame for a viewer that has it now."""
        own = sum(spent.values())
        delivery = time.perf_counter() - self.done - own
        convert = self.times["convert"] + spent.get("convert", 0.0)
        return self.times | spent | {"convert": convert, "delivery": delivery}

    def _image(self, name: str, make: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        with self._lock:
            if name not in self._images:
                self._images[name] = make()
            return self._images[name]

    def _layer(self, view: str) -> NDArray[np.uint8]:
        assert self._output is not None
        alone = Output(self._output.image, **{view: getattr(self._output, view)})
        layer = layers_as_images(alone)[view]
        return layer if layer.ndim == 3 else np.repeat(layer[..., None], 3, -1)


class Broadcaster:
    """The newest frame, for any number of viewers. Whoever is late misses frames, nothing else.

    Threads `wait` for a frame; coroutines iterate over `frames`, which takes no thread.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frame: PreviewFrame | None = None
        self._listeners: set[Callable[[], object]] = set()
        self.closed = False

    def publish(self, frame: PreviewFrame) -> None:
        """Show a frame."""
        with self._changed:
            self._frame = frame
            self._tell()

    def close(self) -> None:
        """No more frames come; nobody has to wait."""
        with self._changed:
            self.closed = True
            self._tell()

    def _tell(self) -> None:
        self._changed.notify_all()
        for listener in self._listeners:
            with suppress(RuntimeError):  # its event loop has ended
                listener()

    @property
    def newest(self) -> PreviewFrame | None:
        """The newest frame, None before the first."""
        return self._frame

    def wait(self, after: int, timeout: float = 1.0) -> PreviewFrame | None:
        """The newest frame if it is newer than number `after`, else None when time is up."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.closed or (self._frame is not None and self._frame.number > after),
                timeout,
            )
            frame = self._frame
        return frame if frame is not None and frame.number > after else None

    async def frames(self, repeat: float = float("inf")) -> AsyncGenerator[PreviewFrame, None]:
        """The newest frame whenever there is one; the last again after `repeat` seconds without."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def listener() -> None:
            loop.call_soon_threadsafe(changed.set)

        with self._changed:
            self._listeners.add(listener)
        last = 0
        try:
            while not self.closed:
                changed.clear()
                if self._frame is None or self._frame.number == last:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(None if repeat == float("inf") else repeat):
                            await changed.wait()
                    if self.closed:
                        return
                if self._frame is not None:
                    last = self._frame.number
                    yield self._frame
        finally:
            with self._changed:
                self._listeners.discard(listener)
