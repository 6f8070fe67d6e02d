"""The working size: how large a picture the network can take and still be live.

Measured, not guessed: the network runs for about a second on the first picture.
"""

from __future__ import annotations

import time
from statistics import median

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from derain.models import Derainer
from derain.pipeline.streaming.sizes import parse_size

SMOOTH = 12.0  # frames a second that are enough to call it live
SHARE = 0.8  # of the time for the network; decoding and viewers need the rest
SMALLEST = 160  # pixels across
PROBE = 640 * 360  # pixels of the picture that is measured, at most


def parse_resolution(text: str) -> tuple[int, int] | str:
    """`auto`, `source`, or WIDTHxHEIGHT as numbers.

    Raises:
        UsageError: it is none of these.
    """
    if text in ("auto", "source"):
        return text
    return parse_size(text, "--resolution", 16, ("auto", "source"))


def fit(source: tuple[int, int], per_pixel: float, rate: float) -> tuple[int, int]:
    """The largest size (width, height) of the source's shape that the network keeps up with.

    Args:
        source: width and height.
        per_pixel: seconds that the network takes for a pixel of a frame.
        rate: frames a second that the source gives; more than `SMOOTH` are not asked for.
    """
    width, height = source
    pixels = SHARE / min(rate, SMOOTH) / per_pixel
    scale = min(1.0, (pixels / (width * height)) ** 0.5)
    if scale == 1.0:
        return source
    # Multiples of 8 need no padding.
    across = min(width, max(SMALLEST, int(width * scale) // 8 * 8))
    down = max(8, round(across * height / width / 8) * 8)
    return across // 2 * 2, down


def measure(derainer: Derainer, rgb: NDArray[np.float32], seconds: float = 1.0) -> float:
    """Seconds that the network takes for one pixel, from pushing a moving (H, W, 3) picture."""
    height, width = rgb.shape[:2]
    scale = min(1.0, (PROBE / (width * height)) ** 0.5)
    small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    tensor = torch.from_numpy(np.ascontiguousarray(small)).permute(2, 0, 1)
    spent: list[float] = []
    until = float("inf")
    while time.perf_counter() < until or not spent:
        began = time.perf_counter()
        output = derainer.push(tensor.roll(2 * len(spent), -1))
        if output is not None:
            float(output.image[0, 0, 0, 0])  # waits for the device
            if until < float("inf"):
                spent.append(time.perf_counter() - began)
            else:
                until = time.perf_counter() + seconds  # the first one only warms up
    derainer.reset()
    return median(spent) / (small.shape[0] * small.shape[1])
