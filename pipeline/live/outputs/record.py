"""Recording of what a live session shows, with the writer of `derain video`.

A part file until the end, which plays as far as it goes. Frames have the source's size. Images
alone: sound is not recorded.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

from derain.models.errors import DerainError
from derain.models.log import Log
from derain.pipeline.live.capture import TICKS
from derain.pipeline.live.outputs.compose import residual_at
from derain.pipeline.storage.stores import require_local
from derain.pipeline.streaming.shot_runner import Finished
from derain.pipeline.video import VideoWriter
from derain.pipeline.video.encoders import Encoding
from derain.pipeline.video.frames import Frame, Video
from derain.pipeline.video.output_files import output_files, written_files
from derain.pipeline.video.paths import require_other_file


def check_target(name: str, source: str, overwrite: bool) -> None:
    """Refuse a file that could not be made in the end.

    Args:
        name: of the file to make.
        source: what is derained.
        overwrite: whether a file that is there may be replaced.

    Raises:
        DerainError: it or a part of it is there already, its folder is not, it is the source, or
            it lies in a store.
    """
    require_local(name)
    target, files = Path(name), output_files(name)
    require_other_file(source, written_files(name))
    if target.exists() and not overwrite:
        raise DerainError(f"{target} is there already; add -y to replace it.")
    left = files.leftover() if files else None
    if left is not None and not overwrite:
        raise DerainError(
            f"{left} of an interrupted recording is there; rename it to keep it, or add -y."
        )
    if not target.parent.is_dir():
        raise DerainError(f"There is no folder {target.parent}; make it first.")


def record(
    items: Iterable[Finished],
    target: str,
    rate: float,
    *,
    encoding: Encoding,
    overwrite: bool,
    notice: Log,
) -> None:
    """Write all `items`, each at the time it was captured.

    Args:
        items: finished frames, in order.
        target: the file to make.
        rate: frames a second that the container declares.
        encoding: how to encode.
        overwrite: whether a file that is there may be replaced.
        notice: told what is done differently.

    Raises:
        DerainError: the file cannot be written, or no frame came.
    """
    writer: VideoWriter | None = None
    last = -1
    try:
        for item in items:
            if writer is None:
                video = _video(item.frame, rate)
                writer = VideoWriter(target, video, encoding, overwrite=overwrite, notice=notice)
            if item.frame.pts > last:
                last = item.frame.pts
                size = (writer.video.width, writer.video.height)
                writer.write(item.frame, residual_at(item, size))
        if writer is not None:
            writer.close()
    except BaseException as error:
        text = str(error)
        if writer is not None:
            writer.muxer.abandon(keep=True)
            text += f" What was recorded is in {writer.muxer.part}."
        if isinstance(error, (OSError, DerainError)):
            raise DerainError(text) from error
        raise
    if writer is None:
        raise DerainError(f"No frame came, so {target} was not made; check the source.")


def _video(frame: Frame, rate: float) -> Video:
    """A file for frames like this one, at the times they bring along."""
    image = frame.image
    return Video(
        image.width,
        image.height,
        rate=Fraction(rate).limit_denominator(1001),
        time_base=TICKS,
        pixel_format=image.format.name,
        color=frame.color,
    )
