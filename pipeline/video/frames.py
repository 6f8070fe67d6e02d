"""Frames of a video: what a stream is, one frame of it, its planes, and conversions with swscale.

Files are in reader.py and writer.py, arithmetic of colour in color.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import Any, TypeVar

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from derain.pipeline.video.color import JPEG_MATRIX, SWSCALE, Color, Rgb, to_float
from derain.pipeline.video.copying.immersive import Immersive

T = TypeVar("T", bound=np.generic)

# What `plane` can view and color.py can add to; anything else is converted to the nearest of these.
EDITABLE = (
    [f"yuv{s}p" for s in ("420", "422", "444", "440", "411", "410")]
    + [f"yuvj{s}p" for s in ("420", "422", "444", "440", "411")]
    + [f"yuv{s}p{b}le" for s in ("420", "422", "444") for b in (9, 10, 12, 14, 16)]
    + [f"yuva{s}p" for s in ("420", "422", "444")]
    + [f"yuva{s}p{b}le" for s in ("420", "422", "444") for b in (10, 16)]
    + ["yuva422p12le", "yuva444p12le"]
    + ["gray", "gray10le", "gray12le", "gray16le", "rgb24"]
    + ["gbrp", "gbrp9le", "gbrp10le", "gbrp12le", "gbrp14le", "gbrp16le", "gbrap"]
)


@dataclass(frozen=True, slots=True)
class Video:
    """What a video stream is: everything a writer needs to make one like it."""

    width: int
    height: int
    rate: Fraction = Fraction(25)
    time_base: Fraction | None = None  # 1 / rate where None
    pixel_format: str = "yuv420p"
    color: Color = Color()  # noqa: RUF009 (frozen)
    aspect: Fraction | None = None  # of one pixel
    display_matrix: tuple[int, ...] | None = None  # 9 numbers, as in the MP4 track header
    light: dict[str, str] = field(default_factory=dict)  # HDR: master-display, max-cll of x265
    immersive: Immersive | None = None  # how it is seen with a headset
    dolby_vision: bytes | None = None  # configuration record, the code of its box in front
    ambient: bytes | None = None  # the ambient light, as a unit of H.265
    carried: frozenset[str] = frozenset()  # what may come along with frames, as their units
    unkept: tuple[str, ...] = ()  # what its frames say besides
    codec: str = ""
    frames: int = 0  # to be shown, as declared or estimated; 0 where nobody knows
    counted: bool = False  # `frames` is the file's own count, not an estimate
    hidden: int = 0  # more frames that are there, but not shown: an edit list leaves them out
    duration: float | None = None  # seconds
    interlaced: bool = False
    transparent: bool = False  # the file has an alpha channel, decoded or not
    metadata: dict[str, str] = field(default_factory=dict)
    disposition: int = 0

    @property
    def ticks(self) -> Fraction:
        """The unit of time stamps, in seconds."""
        return self.time_base or 1 / self.rate

    @property
    def bits(self) -> int:
        """Bits of a sample."""
        return depth(self.pixel_format)


@dataclass(slots=True)
class Frame:
    """One decoded frame with its time stamp. `pts` counts `time_base` seconds."""

    image: av.VideoFrame
    pts: int
    time_base: Fraction
    color: Color
    index: int = 0
    units: tuple[bytes, ...] = ()  # of H.265, that go along with the frame (hdr_units.py)
    warm_up: bool = False  # before --start: the network sees it, the encoder does not
    context: bool = False  # around a segment: seen by the network, written with another segment
    cut: bool = False  # begins a new shot
    repeat: bool = False  # shows what the frame before it showed
    rgb: Rgb | None = None  # (H, W, 3), in [0, 1] above eight bits; VideoReader.fill_rgb fills it

    @property
    def time(self) -> float:
        """Seconds."""
        return self.pts * self.time_base.numerator / self.time_base.denominator

    def luma(self) -> NDArray[np.uint8]:
        """Its brightness as (H, W) uint8: a view of the first plane where it can be."""
        name = self.image.format.name
        if name not in EDITABLE:
            return plane(self.image.reformat(format="gray"), 0)
        first = plane(self.image, 0)
        if first.ndim == 3:
            return np.ascontiguousarray(first[..., 1])
        bits = depth(name)
        return first if bits == 8 else (first >> (bits - 8)).astype(np.uint8)


@cache
def depth(pixel_format: str) -> int:
    """Bits of a sample of a pixel format."""
    return int(av.VideoFormat(pixel_format).components[0].bits)


@cache
def is_rgb(pixel_format: str) -> bool:
    """Whether a pixel format holds red, green and blue, or numbers of such colours."""
    format = av.VideoFormat(pixel_format)
    return format.is_rgb or format.has_palette


@cache
def has_alpha(pixel_format: str) -> bool:
    """Whether a pixel format says how transparent each pixel is."""
    return any(c.is_alpha for c in av.VideoFormat(pixel_format).components)


def plane(image: av.VideoFrame, index: int) -> NDArray[Any]:
    """A view of a plane, no copy: (H, W), or (H, W, 3) for rgb24; uint16 above eight bits."""
    own = image.planes[index]
    rows = np.frombuffer(own, np.uint16 if depth(image.format.name) > 8 else np.uint8)
    rows = rows.reshape(-1, own.line_size // rows.itemsize)[: own.height]
    if image.format.name == "rgb24":
        return rows[:, : own.width * 3].reshape(own.height, own.width, 3)
    return rows[:, : own.width]


def to_rgb(
    image: av.VideoFrame, color: Color, reformatter: VideoReformatter
) -> NDArray[np.float32]:
    """Convert an image of any format to (H, W, 3) float32 RGB in [0, 1]; see `decoded_rgb`.

    Args:
        image, color, reformatter: as of `reformat`.
    """
    return to_float(decoded_rgb(image, color, reformatter))


def decoded_rgb(image: av.VideoFrame, color: Color, reformatter: VideoReformatter) -> Rgb:
    """Convert an image to (H, W, 3) RGB: uint8, or float32 in [0, 1] above eight bits.

    Args:
        image, color, reformatter: as of `reformat`.
    """
    if depth(image.format.name) > 8:
        # swscale turns rgb48 into garbage with some flags; planar 16 bit is right with all.
        deep = reformat(image, "gbrp16le", color, reformatter)
        green, blue, red = (plane(deep, i) for i in range(3))
        return to_float(np.stack([red, green, blue], axis=-1), 65535)
    return plane(reformat(image, "rgb24", color, reformatter), 0).astype(np.uint8)


def reformat(
    image: av.VideoFrame,
    format: str,
    color: Color,
    reformatter: VideoReformatter,
    size: tuple[int, int] | None = None,
) -> av.VideoFrame:
    """Convert format (and size, width first) with the right matrix and range on both sides.

    YUV that becomes one of the formats that FFmpeg has for JPEG alone (yuvj420p, …) gets the matrix
    and the range of JPEG, which has no tags to say anything else.

    Args:
        image: decoded.
        format: FFmpeg's name of the pixel format to make.
        color: with a known matrix.
        reformatter: reused from frame to frame.
        size: width and height to make; None keeps it.
    """
    width, height = size or (image.width, image.height)
    if image.format.name == format and (image.width, image.height) == (width, height):
        return image
    name = image.format.name
    if is_rgb(name) and name not in EDITABLE and depth(name) <= 8 and not is_rgb(format):
        # Straight to YUV, swscale makes them darker: bgr24 by 1, rgb555 by 3.
        image = reformat(image, "rgb24", color, reformatter)
        name = "rgb24"
    matrix = SWSCALE.get(color.matrix, 5)
    yuv_range = 2 if color.full_range else 1
    jpeg = format.startswith("yuvj") and not name.startswith("yuvj")
    return reformatter.reformat(
        image,
        width=width,
        height=height,
        format=format,
        src_colorspace=matrix,
        dst_colorspace=SWSCALE[JPEG_MATRIX] if jpeg else matrix,
        src_color_range=2 if is_rgb(name) else yuv_range,
        dst_color_range=2 if jpeg or is_rgb(format) else yuv_range,
        threads=1,
    )


def to_limited(image: av.VideoFrame, color: Color, reformatter: VideoReformatter) -> av.VideoFrame:
    """Convert luma and chroma of the full range to the limited one, in the same format.

    Args:
        image, color, reformatter: as of `reformat`.
    """
    matrix = SWSCALE.get(color.matrix, 5)
    return reformatter.reformat(
        image,
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=2,
        dst_color_range=1,
        threads=1,
    )


def is_turned(matrix: Sequence[int] | None) -> bool:
    """Whether a display matrix makes rows columns."""
    return matrix is not None and abs(matrix[1]) > abs(matrix[0])


def upright(image: NDArray[T], matrix: Sequence[int] | None) -> NDArray[T]:
    """A view (H, W, …) as players show it: turned and mirrored by quarters of a turn.

    `matrix` is that of `Video.display_matrix`: x' = a x + c y, y' = b x + d y of (a b u c d v …).
    """
    if matrix is None:
        return image
    across, down = _steps(matrix)
    if is_turned(matrix):
        image = image.swapaxes(0, 1)
    return image[::down, ::across]


def as_stored(image: NDArray[T], matrix: Sequence[int] | None) -> NDArray[T]:
    """A view of an upright image as the file holds it: what `upright` did, undone."""
    if matrix is None:
        return image
    across, down = _steps(matrix)
    image = image[::down, ::across]
    return image.swapaxes(0, 1) if is_turned(matrix) else image


def mirrored(matrix: Sequence[int]) -> tuple[bool, bool]:
    """Whether a display matrix mirrors, after it turned: across and down the upright image."""
    a, b, _, c, d = matrix[:5]
    across, down = (c, b) if is_turned(matrix) else (a, d)
    return across < 0, down < 0


def _steps(matrix: Sequence[int]) -> tuple[int, int]:
    """1, or -1 where a display matrix mirrors: across and down the upright image."""
    across, down = mirrored(matrix)
    return -1 if across else 1, -1 if down else 1
