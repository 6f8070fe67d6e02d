"""What a run is watched on while it trains: fixed rain on clips it never sees.

The figures of record come from `derain eval`, on whole frames and fixed pairs.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from derain.models.errors import DerainError
from derain.models.ops.image_arrays import to_tensor
from derain.stages.data.rain import RainSettings, StreakLayer, render_rain

FRAMES, HEIGHT, WIDTH = 12, 256, 320
LEVELS = {
    "light": RainSettings(
        layers=(
            StreakLayer(0.03, 14, 1.0, 0.5, 0.0, 2.0, 0.0),
            StreakLayer(0.02, 30, 1.3, 0.6, 0.5, 1.5, 0.0),
        ),
        angle=6,
    ),
    "heavy": RainSettings(
        layers=(
            StreakLayer(0.1, 14, 1.0, 0.6, 0.0, 2.0, 0.0),
            StreakLayer(0.08, 35, 1.6, 0.8, 0.6, 1.5, 0.0),
            StreakLayer(0.05, 60, 2.5, 0.6, 0.3, 1.2, 1.0),
        ),
        angle=-12,
    ),
    "haze": RainSettings(
        layers=(
            StreakLayer(0.08, 14, 1.0, 0.6, 0.0, 2.0, 0.0),
            StreakLayer(0.05, 35, 1.6, 0.7, 0.5, 1.5, 0.0),
        ),
        angle=9,
        haze=0.7,
    ),
    "clean": RainSettings(layers=()),
}


class ValidationClip(NamedTuple):
    """One level of rain on one clip: (1, T, 3, H, W) each."""

    level: str
    rainy: Tensor
    clean: Tensor


def make_validation_clips(files: list[Path]) -> list[ValidationClip]:
    """Validation clips from decoded clips (.npy), cut from their middle."""
    validation_clips = []
    for seed, file in enumerate(files):
        clip = np.load(file, mmap_mode="r")
        clean = to_tensor(middle(clip[:FRAMES]))
        for level, settings in LEVELS.items():
            rainy = render_rain(clean, settings, seed).rainy
            validation_clips.append(ValidationClip(level, rainy[None], clean[None]))
    return validation_clips


def to_clip(frames: NDArray[np.uint8]) -> Tensor:
    """The middle of decoded frames (T, H, W, 3), as (1, T, 3, H, W) in [0, 1]."""
    return to_tensor(middle(frames))[None]


def middle(clip: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle of (T, H, W, 3), a copy; sides are cut to multiples of 32, as networks may want.

    Raises:
        DerainError: it is smaller than that.
    """
    height, width = (
        min(n, m // 32 * 32) for n, m in zip((HEIGHT, WIDTH), clip.shape[1:3], strict=True)
    )
    if not height or not width:
        raise DerainError("To validate on, images must be at least 32x32; choose larger ones.")
    top, left = (clip.shape[1] - height) // 2, (clip.shape[2] - width) // 2
    return np.array(clip[:, top : top + height, left : left + width])


def stills(validation_clips: list[ValidationClip]) -> list[ValidationClip]:
    """The first frames: more of them say nothing new of a single-image network."""
    return [ValidationClip(p.level, p.rainy[:, :1], p.clean[:, :1]) for p in validation_clips]
