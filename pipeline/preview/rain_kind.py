"""What kind of rain a film shows, measured on its own frames.

Falling streaks are brighter than the scene for one frame: brighter than the frames before and after
where these are moved along the optical flow. Errors of the flow and grain are as often darker, so
the darker pixels are taken off. On clean clips what is left is below 0.35 % of the pixels, under
light rendered rain above 3 %, on real rain 1.7 to 4.5 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from derain.models import Derainer
from derain.models.ops.image_arrays import to_tensor
from derain.models.ops.optical_flow import dis_flow, warp

WIDTH = 640  # pixels across of the frames that are compared
FAINT, BRIGHT = 8 / 255, 16 / 255  # by which a streak is brighter than the scene
RAIN = 0.008  # share of faint transients, beyond the darker ones, from which it rains
SPARSE, ONE_SIDED = 0.0015, 0.35  # the same of few but bright ones, and what share of all they are
REPEAT = 0.1 / 255  # mean difference below which a frame repeats the one before
LUMA = np.array((0.299, 0.587, 0.114), np.float32)

HAZY = 0.82  # mean transmission below which there is haze, as in the haze estimator

# Drops on glass, measured on frames of about a second: small details that stand still while they
# are all that is sharp. A windscreen had 218 to 249 of them, 34 % of the frame of 38 to 42 % that
# is sharp at all; clean clips at most 168, and foliage, which has more, is sharp on 55 to 80 %.
DROPS, CELLS = 150, 10  # how many, in how many of 12 fields of the frame
SHARP, STILL = 0.55, 0.5  # at most so much of the frame is sharp, at least so much of it is still
DETAIL, BLUR, STEADY = 5.0, 6.0, 2.5  # grey levels, pixels, times its own spread

Image = NDArray[np.float32]  # (H, W, 3) in [0, 1]


@dataclass(frozen=True, slots=True)
class Transients:
    """Shares of pixels that differ for one frame alone.

    Args:
        faint, bright: brighter than before and after by `FAINT`, by `BRIGHT`.
        faint_dark, bright_dark: darker by as much.
    """

    faint: float
    faint_dark: float
    bright: float
    bright_dark: float

    @property
    def rain(self) -> float:
        """The share that falling streaks explain."""
        return max(0.0, self.faint - self.faint_dark)

    @property
    def is_rain(self) -> bool:
        """Whether streaks fall."""
        excess = self.bright - self.bright_dark
        sparse = excess > SPARSE and excess > ONE_SIDED * (self.bright + self.bright_dark)
        return self.rain > RAIN or sparse


def small(image: Image, width: int = WIDTH) -> Image:
    """An image at most `width` pixels across."""
    height, across = image.shape[:2]
    if across <= width:
        return image
    size = (width, max(1, round(height * width / across)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.float32)


def is_repeat(before: Image, frame: Image) -> bool:
    """Whether a frame repeats the one before it: there nothing is brighter for one frame."""
    return float(np.abs(frame - before).mean()) <= REPEAT


def measure_transients(before: Image, frame: Image, after: Image) -> Transients:
    """Compare a frame with its neighbours, moved along the flow; all of one size.

    Args:
        before: (H, W, 3) uint8.
        frame: (H, W, 3) uint8, the one looked at.
        after: (H, W, 3) uint8, the next one.
    """
    past, now, future = (to_tensor(x)[None] for x in (before, frame, after))
    moved = [
        warp(other, dis_flow(now, other)[0], other)[0].permute(1, 2, 0).numpy() @ LUMA
        for other in (past, future)
    ]
    here = frame @ LUMA
    up = np.minimum(here - moved[0], here - moved[1])
    down = np.minimum(moved[0] - here, moved[1] - here)
    shares = [float((x > least).mean()) for least in (FAINT, BRIGHT) for x in (up, down)]
    return Transients(*shares)


def measure_haze(haze_model: Derainer, image: Image) -> float | None:
    """Mean transmission of the air, by a network that estimates it; None if it does not."""
    output = haze_model.push(to_tensor(small(image)))
    output = output if output is not None else haze_model.flush()[0]
    haze_model.reset()
    return None if output.transmission is None else float(output.transmission.mean())


def shows_drops(frames: Sequence[Image]) -> bool:
    """Whether a second of frames is seen through drops on glass; at least three frames."""
    if len(frames) < 3:
        return False
    grey = [small(frame, 480) @ LUMA * 255 for frame in frames]
    detail = np.stack([x - cv2.GaussianBlur(x, (0, 0), BLUR) for x in grey])
    middle = np.median(detail, 0)
    spread = np.median(np.abs(detail - middle), 0)
    still = (np.abs(middle) > DETAIL) & (np.abs(middle) > STEADY * spread)
    sharp = float((np.abs(detail) > DETAIL).mean())
    if sharp > SHARP or still.mean() < STILL * sharp:
        return False
    height, width = still.shape
    _, _, boxes, centres = cv2.connectedComponentsWithStats(still.astype(np.uint8), connectivity=8)
    fields, count = set(), 0
    for (_, _, across, down, area), (x, y) in zip(boxes[1:], centres[1:], strict=True):
        compact = max(across, down) <= 3.5 * min(across, down) and area > 0.35 * across * down
        if compact and 12 <= area <= 0.01 * still.size:
            count += 1
            fields.add((int(4 * x / width), int(3 * y / height)))
    return count >= DROPS and len(fields) >= CELLS
