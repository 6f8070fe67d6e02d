"""Sizes and regions as users write them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from derain.models.errors import UsageError


def parse_size(text: str, option: str, least: int, words: tuple[str, ...] = ()) -> tuple[int, int]:
    """`640x360` to (640, 360).

    Args:
        text: WIDTHxHEIGHT, both even.
        option: the option's name, for the error.
        least: pixels that each side has at least.
        words: what the option takes besides, for the error.

    Raises:
        UsageError: it is no such size.
    """
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        allowed = " or ".join((*words, "WIDTHxHEIGHT such as 640x360"))
        raise UsageError(f"{option} is {allowed}, not '{text}'.")
    width, height = map(int, parts)
    if width % 2 or height % 2 or min(width, height) < least:
        raise UsageError(f"{option} {text} must be even, and at least {least}x{least}.")
    return width, height


def protected_mask(regions: Sequence[str], width: int, height: int) -> NDArray[np.bool_] | None:
    """Where nothing may be changed: (height, width), True there; None where all may be.

    Args:
        regions: each `X,Y,W,H` in pixels of the upright frame, or an image of its size that is
            white (128 of 255 or more) where the frame is to stay.
        width, height: of the upright frame.

    Raises:
        UsageError: a region that is none or lies outside, or an image of another size or none.
    """
    if not regions:
        return None
    mask = np.zeros((height, width), bool)
    for text in regions:
        numbers = text.split(",")
        if len(numbers) == 4 and all(number.strip().isdecimal() for number in numbers):
            x, y, w, h = map(int, numbers)
            if not (w and h and x + w <= width and y + h <= height):
                raise UsageError(f"--protect {text} does not lie in frames of {width}x{height}.")
            mask[y : y + h, x : x + w] = True
        else:
            mask |= _read_mask(text, width, height)
    return mask


def _read_mask(path: str, width: int, height: int) -> NDArray[np.bool_]:
    from PIL import Image

    try:
        with Image.open(path) as image:
            size, grey = image.size, np.asarray(image.convert("L"))
    except OSError as error:
        raise UsageError(
            f"--protect is X,Y,W,H or an image, and '{path}' is neither ({error})."
        ) from error
    if size != (width, height):
        raise UsageError(
            f"{path} is {size[0]}x{size[1]}, and the frames are {width}x{height}; "
            "make the mask of that size."
        )
    return grey >= 128
