"""Colour: matrices, ranges and bit depths, and adding a residual in RGB to the planes of an image.

A frame is never turned into RGB and back: the network sees RGB, and what it changed is converted to
its own planes and added there, in float. What it did not change stays bit for bit.
Only numpy and OpenCV here; frames and files belong to reader.py and writer.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

UNSPECIFIED = 2  # in ITU-T H.273, for matrix, primaries and transfer alike
RGB_MATRIX = 0
JPEG_MATRIX = 5  # the only one that JPEG has
Rgb = NDArray[np.uint8] | NDArray[np.float32]  # levels of 255, or in [0, 1]
STRIP = 1 << 19  # bytes of a residual that are worked on at once

# H.273 matrix code -> (Kr, Kb), and the number swscale has for the same matrix.
LUMA = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.601, 625 lines
    6: (0.299, 0.114),  # BT.601, 525 lines
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020, not constant luminance
    10: (0.2627, 0.0593),  # constant luminance, treated as the line above
}
SWSCALE = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}


@dataclass(frozen=True, slots=True)
class Color:
    """What the numbers in an image mean: H.273 codes, 2 where the file does not say."""

    matrix: int = UNSPECIFIED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    full_range: bool = False

    def resolved(self, height: int, rgb: bool = False) -> Color:
        """The same with a known matrix: BT.709 from 720 lines on, else BT.601, as players guess."""
        if rgb:
            return Color(RGB_MATRIX, self.primaries, self.transfer, full_range=True)
        if self.matrix in LUMA or self.matrix == RGB_MATRIX:
            return self
        return Color(1 if height >= 720 else 6, self.primaries, self.transfer, self.full_range)


@cache
def luma_chroma_rows(color: Color, bits: int) -> NDArray[np.float32]:
    """The (3, 3) matrix from a change of RGB in [0, 1] to a change of Y, Cb, Cr in code values."""
    kr, kb = LUMA[color.matrix]
    kg = 1 - kr - kb
    y = np.array([kr, kg, kb])
    rows = np.stack(
        [y, (np.array([0, 0, 1]) - y) / (2 - 2 * kb), (np.array([1, 0, 0]) - y) / (2 - 2 * kr)]
    )
    full = 2**bits - 1
    luma, chroma = (full, full) if color.full_range else (219 << bits - 8, 224 << bits - 8)
    return (rows * np.array([[luma], [chroma], [chroma]])).astype(np.float32)


def to_float(image: NDArray[np.generic], peak: int = 255) -> NDArray[np.float32]:
    """Integers 0…peak to float32 in [0, 1], of the same shape, contiguous; floats as they are."""
    if image.dtype == np.float32:
        return image.view(np.float32)
    out = np.empty(image.shape, np.float32)
    return np.multiply(image, np.float32(1 / peak), out=out)


def to_bytes(image: Rgb) -> NDArray[np.uint8]:
    """Float in [0, 1] to uint8, rounded and clipped; uint8 as it is."""
    if image.dtype == np.uint8:
        return image.view(np.uint8)
    import cv2

    shape = image.shape
    flat = np.ascontiguousarray(image).reshape(shape[0], -1)
    return cv2.multiply(flat, 255.0, dtype=cv2.CV_8U).reshape(shape)


def to_bgr(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB to the order of OpenCV, or back, (H, W, 3).

    A view with a negative stride does too, but OpenCV copies that pixel by pixel: 1.5 ms of 2.5 for
    a JPEG of 640x720.
    """
    import cv2

    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), np.uint8)


class Residual(NamedTuple):
    """A residual in RGB as the two images it lies between, (H, W, 3), in [0, 1] or uint8.

    Worked out where it is needed, a few rows at a time: a whole one does not fit into the cache.
    """

    after: NDArray[np.float32]
    before: Rgb

    def whole(self) -> NDArray[np.float32]:
        """The residual of all rows, a fresh array."""
        return np.ascontiguousarray(self.after - to_float(self.before))

    def share(self, least: float) -> float:
        """The share of samples that change by more than `least`, of every eighth row."""
        rows = slice(min(4, len(self.before) // 2), None, 8)
        return float((np.abs(self.after[rows] - to_float(self.before[rows])) > least).mean())


def add_residual(
    planes: list[NDArray[np.generic]],
    residual: NDArray[np.float32] | Residual,
    color: Color,
    bits: int,
) -> None:
    """Add a residual to an image, in place.

    Args:
        planes: writable views, uint8 or uint16: Y, Cb, Cr (chroma of any subsampling, its plane
            rounded up), or Y alone, or G, B, R where the matrix is RGB, or one (H, W, 3) RGB plane.
        residual: (H, W, 3) float32, RGB, the finished image minus the one the network was given;
            or the two as a `Residual`.
        color: with a known matrix.
        bits: of the planes' values.
    """
    height = planes[0].shape[0]
    rgb = color.matrix == RGB_MATRIX
    rows = luma_chroma_rows(Color(1, full_range=True) if rgb else color, bits)
    down = -(-height // planes[1].shape[0]) if len(planes) > 1 else 1
    # Chroma is smaller by 4 at most.
    step = max(16, STRIP // (12 * planes[0].shape[1]) // 4 * 4)
    for top in range(0, height, step):
        some = slice(top, top + step)
        strip = _rows(residual, some)
        part = [planes[0][some]]
        part += [plane[top // down : (top + step) // down] for plane in planes[1:3]]
        if planes[0].ndim == 3:
            whole = part[0].reshape(len(strip), -1)
            _add(whole, strip.reshape(len(strip), -1) * np.float32(2**bits - 1), bits)
        elif rgb and len(planes) >= 3:
            for plane, channel in zip(part, (1, 2, 0), strict=True):
                _add(plane, strip[..., channel] * np.float32(2**bits - 1), bits)
        else:
            for plane, row in zip(part, rows, strict=False):
                _add(plane, _shrink(_project(strip, row), *plane.shape), bits)


def _rows(residual: NDArray[np.float32] | Residual, some: slice) -> NDArray[np.float32]:
    """Some rows of a residual, contiguous."""
    import cv2

    if isinstance(residual, Residual):
        after, before = (np.ascontiguousarray(to_float(x[some])) for x in residual)
        return cv2.subtract(after, before)
    return np.ascontiguousarray(residual[some])


def _project(strip: NDArray[np.float32], row: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W, 3) times a row of three, (H, W)."""
    import cv2

    # One row at a time: OpenCV has vector code for one row and for three, not for two.
    return cv2.transform(strip, row[None])


def _shrink(part: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Average (H, W) to the chroma plane's size, the image's over 1, 2 or 4, rounded up."""
    import cv2

    if part.shape == (height, width):
        return part
    down, across = -(-part.shape[0] // height), -(-part.shape[1] // width)
    bottom, right = height * down - part.shape[0], width * across - part.shape[1]
    if bottom or right:
        part = cv2.copyMakeBorder(part, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    return cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)


def _add(plane: NDArray[np.generic], residual: NDArray[np.float32], bits: int) -> None:
    """plane += residual, rounded and kept inside the plane's values."""
    import cv2

    if plane.dtype == np.uint8:
        cv2.add(plane, residual, dst=plane, dtype=cv2.CV_8U)
    else:
        cv2.add(plane, residual, dst=plane, dtype=cv2.CV_16U)
        if bits < 16:
            np.minimum(plane, 2**bits - 1, out=plane)
