"""A few frames here and there of a long film, without decoding what lies between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np
from numpy.typing import NDArray

from derain.models.errors import VideoError
from derain.pipeline.video import VideoReader, upright_rgb
from derain.pipeline.video.frames import Frame

FORWARD = 60 * 640 * 360  # pixels that are decoded at most to come nearer than a key frame is


@dataclass(frozen=True, slots=True)
class Sample:
    """Frames that follow each other.

    Args:
        time: seconds from the film's beginning to the first of them.
        images: (H, W, 3) float32 in [0, 1].
    """

    time: float
    images: list[NDArray[np.float32]]


def sample_frames(reader: VideoReader, moments: int, frames: int) -> Iterator[Sample]:
    """Short runs of frames, spread evenly over a film; a moment twice is given once.

    Args:
        reader: of a film that can be wound; it is of no other use afterwards.
        moments: how many runs.
        frames: how many of each; the last one may have fewer.

    Raises:
        VideoError: the film cannot be wound, or does not say how long it is.
    """
    video, container = reader.video, reader.container
    if not video.duration:
        raise VideoError(f"{reader.name} does not say how long it is; write it to a file first.")
    begin = (container.start_time or 0) / av.time_base
    seen: set[float] = set()
    for moment in range(moments):
        due = begin + video.duration * (moment + 0.5) / moments
        try:
            container.seek(int(due * av.time_base), backward=True)
        except av.FFmpegError as error:
            raise VideoError(f"{reader.name} cannot be wound; write it to a file first.") from error
        run = _run(reader, due, frames)
        if run is None:
            continue
        time = run.time - begin
        if time not in seen:
            seen.add(time)
            yield Sample(time, run.images)


def _run(reader: VideoReader, due: float, frames: int) -> Sample | None:
    """Frames from about `due` on, after a seek to the key frame before it."""
    stream, first = reader.stream, 0.0
    images: list[NDArray[np.float32]] = []
    forward = max(12, FORWARD // (reader.video.width * reader.video.height))
    try:
        for index, image in enumerate(reader.container.decode(stream)):
            if image.pts is None:
                continue
            time = float(image.pts * stream.time_base)
            if not images and time < due and index < forward:
                continue
            first = first if images else time
            frame = Frame(image, image.pts, stream.time_base, reader.video.color)
            images.append(upright_rgb(reader, frame))
            if len(images) == frames:
                break
    except av.FFmpegError:
        pass  # a damaged place; what came before it will do
    return Sample(first, images) if images else None
