"""The working size: how large a frame the network can take and still be live.

Measured, not guessed: the network runs for about a second on the first frame, and what each frame
takes after it is watched, so that neither a busy second nor an idle one decides for the session.
"""

from __future__ import annotations

import time
from collections import deque
from statistics import median

import cv2
import torch

from derain.models import Derainer
from derain.pipeline.streaming.sizes import parse_size
from derain.pipeline.video.color import Rgb

SMOOTH = 12.0  # frames a second that are enough to call it live
SHARE = 0.8  # of the time for the network; decoding and viewers need the rest
SMALLEST = 160  # pixels across
PROBE = 640 * 360  # pixels of the frame that is measured, at most

# Hysteresis of `AutoSize`.
WATCHED = 24  # newest frames that a verdict is about; their median, so that single ones are noise
ROOMY = 1.3  # how many times the pixels must fit before more are taken
SHRINK_AFTER = 3.0  # seconds that it must have been too slow
GROW_AFTER = 10.0  # seconds that there must have been room
LONGEST_WAIT = 300.0  # of seconds to grow after, which double where growing was a mistake


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
        source: width and height of its frames, pixels.
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


class AutoSize:
    """The working size as load comes and goes.

    Args:
        source: width and height of the source.
        per_pixel: seconds that the network took for a pixel when it was measured.
        rate: frames a second that the source gives.
    """

    def __init__(self, source: tuple[int, int], per_pixel: float, rate: float) -> None:
        self.source, self.rate = source, min(rate, SMOOTH)
        self.size = fit(source, per_pixel, rate)
        self._spent: deque[float] = deque(maxlen=WATCHED)
        self._since = 0.0  # when the present verdict was first given
        self._verdict = 0  # -1: too large, 1: there is room, 0: right
        self._patience = GROW_AFTER
        self._grown = float("-inf")  # when it last grew

    def update(self, seconds: float, now: float) -> bool:
        """Note what a frame took; whether `size` has changed.

        Args:
            seconds: that the network's thread took for the frame.
            now: the moment, in seconds of any clock that rises.
        """
        self._spent.append(seconds)
        if len(self._spent) < WATCHED:
            return False
        width, height = self.size
        usual = median(self._spent)
        wanted = fit(self.source, usual / (width * height), self.rate)
        more = wanted[0] * wanted[1] / (width * height)
        verdict = -1 if usual * self.rate > 1 and more < 1 else int(more >= ROOMY)
        if verdict != self._verdict:
            self._verdict, self._since = verdict, now
        if verdict == 0 or now - self._since < (SHRINK_AFTER if verdict < 0 else self._patience):
            return False
        if verdict < 0 and now - self._grown < 2 * self._patience:
            self._patience = min(2 * self._patience, LONGEST_WAIT)
        elif verdict > 0:
            self._grown = now
        self.size, self._verdict = wanted, 0
        self._spent.clear()
        return True


def measure(derainer: Derainer, rgb: Rgb, seconds: float = 1.0) -> float:
    """Seconds that the network takes for one pixel, from pushing a moving (H, W, 3) image.

    Args:
        derainer: fresh, of the network to measure.
        rgb: (H, W, 3), uint8 or float32 in [0, 1].
        seconds: how long to measure, at least.
    """
    height, width = rgb.shape[:2]
    scale = min(1.0, (PROBE / (width * height)) ** 0.5)
    small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    tensor = torch.from_numpy(small).permute(2, 0, 1)
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
