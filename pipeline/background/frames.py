"""Frames of a clip for `derain background`: all of them in turn, or an even sample of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from derain.models.errors import DerainError
from derain.pipeline.video.color import to_bytes

Image = NDArray[np.uint8]  # (H, W, 3) RGB


class FrameSample:
    """At most `capacity` frames, evenly spread over a clip whose length is not known.

    When it is full every other frame goes, and from then on half as many are taken.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = max(2, capacity)
        self.frames: list[Image] = []
        self.stride = 1
        self._seen = 0

    def due(self) -> bool:
        """Count one more frame of the clip; whether it is to be added."""
        index, self._seen = self._seen, self._seen + 1
        if index % self.stride == 0 and len(self.frames) == self.capacity:
            self.frames = self.frames[::2]
            self.stride *= 2
        return index % self.stride == 0

    def add(self, frame: Image) -> None:
        """Keep a frame, (H, W, 3) uint8 RGB.

        Raises:
            DerainError: it has another size than those before.
        """
        if self.frames and frame.shape != self.frames[0].shape:
            raise DerainError(
                "The frame size changes inside the clip; choose a part with one size."
            )
        self.frames.append(frame)


def read_frames(
    source: str | Path, wanted: Callable[[], bool] = lambda: True
) -> Iterator[tuple[int, Image]]:
    """Index and upright image of a video's frames for which `wanted()`, asked once each, is true.

    Raises:
        DerainError: the video cannot be read.
    """
    from derain.pipeline.video import VideoReader, upright_rgb

    try:
        with VideoReader(source) as reader:
            for frame in reader.frames():
                if wanted():
                    rgb = upright_rgb(reader, frame)
                    yield frame.index, to_bytes(rgb)
    except OSError as error:
        raise DerainError(str(error)) from error
