"""Video files in and out, for everybody else: the reader, the writer, and whole clips as RGB.

Reading is in reader.py, writing in writer.py; nothing here knows of networks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from derain.models.errors import VideoError
from derain.pipeline.video.color import Color
from derain.pipeline.video.encoders import Encoding
from derain.pipeline.video.frames import Frame, Video, upright
from derain.pipeline.video.reader import VideoReader
from derain.pipeline.video.writer import PLAIN, VideoWriter

__all__ = [
    "Color",
    "Encoding",
    "Frame",
    "Video",
    "VideoError",
    "VideoReader",
    "VideoWriter",
    "read_rgb",
    "upright_rgb",
    "write_rgb",
]


def upright_rgb(reader: VideoReader, frame: Frame) -> NDArray[np.float32]:
    """A frame of `reader` as `to_rgb` gives it, but turned as players show it; contiguous."""
    return np.ascontiguousarray(upright(reader.to_rgb(frame), reader.video.display_matrix))


def read_rgb(source: str | Path, limit: int | None = None) -> Iterator[NDArray[np.float32]]:
    """The frames of a file, upright: (H, W, 3) float32 RGB in [0, 1], `limit` of them at most."""
    with VideoReader(source) as reader:
        for frame in reader.frames():
            if limit is not None and frame.index >= limit:
                return
            yield upright_rgb(reader, frame)


def write_rgb(
    target: str | Path,
    frames: Iterable[NDArray[np.uint8]],
    rate: Fraction | int = 25,
    encoding: Encoding = PLAIN,
    overwrite: bool = True,
) -> int:
    """Write (H, W, 3) uint8 RGB frames at a constant rate; how many there were.

    Args:
        target: the file to make, whose ending says the container.
        frames: (H, W, 3) uint8, all of one size; they are taken one by one.
        rate: frames a second, above 0.
        encoding: codec, quality and options; by default what the container usually has.
        overwrite: whether a file that is there may be replaced.

    Raises:
        VideoError: there is no frame, or the target cannot be made.
    """
    writer: VideoWriter | None = None
    count = 0
    for frame in frames:
        if writer is None:
            height, width = frame.shape[:2]
            video = Video(width, height, Fraction(rate), color=Color(1, 1, 1))
            writer = VideoWriter(target, video, encoding, overwrite=overwrite)
        writer.write_rgb(frame, count)
        count += 1
    if writer is None:
        raise VideoError(f"There are no frames to write to {target}.")
    writer.close()
    return count
