"""Animated WebP, which FFmpeg does not decode: Pillow reads it into a film of PNGs in memory."""

from __future__ import annotations

from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np

from derain.models.errors import VideoError

ANIMATED = 2  # a bit of the extended header
LARGEST = 2**32  # bytes of all frames
USUAL = 100  # ms that a frame is shown where the file says nothing


def is_animated_webp(name: str) -> bool:
    """Whether a file is a WebP of several frames, by its header."""
    path = Path(name)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(21)
    extended = head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X"
    return extended and len(head) == 21 and bool(head[20] & ANIMATED)


def as_film(name: str) -> BytesIO:
    """The same frames at the same times in NUT, without loss.

    Raises:
        VideoError: it is damaged, or too large to be held.
    """
    from PIL import Image, ImageSequence

    file, due, held = BytesIO(), 0, 0
    try:
        with Image.open(name) as image, av.open(file, "w", format="nut") as out:
            mode, format = ("RGBA", "rgba") if "A" in image.getbands() else ("RGB", "rgb24")
            stream = out.add_stream("png", rate=1000)
            stream.width, stream.height, stream.pix_fmt = image.width, image.height, format
            stream.codec_context.time_base = Fraction(1, 1000)
            for shown in ImageSequence.Iterator(image):
                held += 4 * image.width * image.height
                if held > LARGEST:
                    raise VideoError(f"{name} is too long an animation; make a film of it first.")
                frame = av.VideoFrame.from_ndarray(np.asarray(shown.convert(mode)), format=format)
                lasts = int(shown.info.get("duration") or USUAL)
                frame.pts, frame.time_base, frame.duration = due, Fraction(1, 1000), lasts
                out.mux(stream.encode(frame))
                due += lasts
            out.mux(stream.encode(None))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise VideoError(f"{name} cannot be read ({error}); check the file.") from error
    file.seek(0)
    return file
