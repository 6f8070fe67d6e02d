"""A few small frames here and there of a long film, without decoding what lies between."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from derain.models.errors import VideoError
from derain.pipeline.preview.rain_kind import WIDTH, is_repeat
from derain.pipeline.video import VideoReader
from derain.pipeline.video.frames import is_turned, reformat, to_rgb, upright

FORWARD, LEAST_FORWARD = 260 * 640 * 360, 12  # pixels, frames that are decoded for one moment
SETTLED = 2  # frames after a key frame that are left out: a key frame differs from the others


@dataclass(frozen=True, slots=True)
class Sample:
    """Frames that follow each other.

    Args:
        time: seconds from the film's beginning to the first of them.
        images: (H, W, 3) float32 in [0, 1], at most `WIDTH` across, each unlike the one before.
    """

    time: float
    images: list[NDArray[np.float32]]


class SmallFrames:
    """Makes decoded frames small before it converts them, which takes a tenth of the time."""

    def __init__(self, reader: VideoReader) -> None:
        video = self._video = reader.video
        turned = is_turned(video.display_matrix)
        ratio = min(1.0, WIDTH / (video.height if turned else video.width))
        self._size = (max(1, round(video.width * ratio)), max(1, round(video.height * ratio)))
        self._scaler = VideoReformatter()

    def __call__(self, image: av.VideoFrame) -> NDArray[np.float32]:
        """(H, W, 3) float32 RGB in [0, 1], upright, at most `WIDTH` across."""
        color = self._video.color
        small = reformat(image, "rgb24", color, self._scaler, self._size)
        rgb = to_rgb(small, color, self._scaler)
        return np.ascontiguousarray(upright(rgb, self._video.display_matrix))


def sample_frames(reader: VideoReader, moments: int, frames: int) -> Iterator[Sample]:
    """Short runs of frames, spread evenly over a film; a moment twice is given once.

    Args:
        reader: of a film that can be wound; it is of no other use afterwards.
        moments: number of runs, 1 or more.
        frames: how many of each; runs may have fewer where frames repeat each other.

    Raises:
        VideoError: the film cannot be wound, or does not say how long it is.
    """
    video, container = reader.video, reader.container
    if not video.duration:
        raise VideoError(f"{reader.name} does not say how long it is; write it to a file first.")
    begin = (container.start_time or 0) / av.time_base
    forward = max(LEAST_FORWARD, FORWARD // (video.width * video.height))
    small, decoded, seen = SmallFrames(reader), _decode(reader), -float("inf")
    for moment in range(moments):
        due = begin + video.duration * (moment + 0.5) / moments
        far = (due - seen) * video.rate > forward
        if far:
            try:
                container.seek(int(due * av.time_base), backward=True)
            except av.FFmpegError as error:
                raise VideoError(
                    f"{reader.name} cannot be wound; write it to a file first."
                ) from error
            decoded = _decode(reader)
        first = _find(decoded, seen, due, SETTLED if far else forward, forward)
        if first is None:
            continue
        seen, image = first
        images = [small(image)]
        following = islice(decoded, 2 * frames - 1)
        while len(images) < frames and (found := next(following, None)):
            seen, image = found
            now = small(image)
            images += [] if is_repeat(images[-1], now) else [now]
        yield Sample(first[0] - begin, images)


def _decode(reader: VideoReader) -> Iterator[tuple[float, av.VideoFrame]]:
    """Frames from where the reader stands to a damaged place, with their times in seconds."""
    with suppress(av.FFmpegError):
        for image in reader.container.decode(reader.stream):
            if image.pts is not None:
                yield float(image.pts * reader.stream.time_base), image


def _find(
    decoded: Iterator[tuple[float, av.VideoFrame]],
    seen: float,
    due: float,
    near: int,
    forward: int,
) -> tuple[float, av.VideoFrame] | None:
    """The first frame of a run, with its time; None where all that is near was seen.

    After a seek, frames right behind the key frame will do, however far before the time that is
    due it lies. Only where an earlier run had these, more are decoded.

    Args:
        decoded: from a key frame on, or from where the last run ended.
        seen: seconds, of the last frame that was looked at.
        due: seconds.
        near: frames that are left out at most where none of them was seen.
        forward: frames that are left out at most.
    """
    for left_out, (time, image) in enumerate(decoded):
        near = forward if time <= seen else near
        if time >= due or left_out >= near:
            return (time, image) if time > seen else None
    return None
