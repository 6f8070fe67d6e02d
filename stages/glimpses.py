"""What teaches a glance (models/glance.py): small whole frames of the clips, and haze for some.

The crops that teach the rest of a network are parts of scenes, from which haze cannot be told; they
come with their haze. Glimpses are cheap, so that each step can see many.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from derain.models.glance import FINE, GRID
from derain.stages import augment
from derain.stages.rain import haze_map, sample_settings

SMALLEST = 0.45  # share of a frame's height and width that a glimpse shows at least
PALEST = 0.1  # share of the airlight that rain adds on average, at most


class Glimpses(NamedTuple):
    """Small pictures (…, 3, FINE, FINE), and what is to be put on them.

    streaks: (…, 3, FINE, FINE), the light of rain. transmission: (…, 1, GRID, GRID). airlight:
    (…, 3, 1, 1).
    """

    clean: Tensor
    streaks: Tensor
    transmission: Tensor
    airlight: Tensor


def draw_glimpses(
    files: list[Path], count: int, rng: np.random.Generator, haze_share: float
) -> Glimpses:
    """`count` glimpses of the clips (.npy); a share of them, drawn one by one, have haze."""
    drawn = [_draw(files, rng, haze_share) for _ in range(count)]
    return Glimpses(*(torch.stack(parts) for parts in zip(*drawn, strict=True)))


def _draw(files: list[Path], rng: np.random.Generator, haze_share: float) -> Glimpses:
    """A frame of one of the clips (.npy), most of it or all, and haze to put on it."""
    clip = np.load(files[rng.integers(len(files))], mmap_mode="r")
    height, width = clip.shape[1:3]
    share = rng.uniform(SMALLEST, 1, 2) if rng.random() < 0.6 else np.ones(2)
    h, w = (int(n * s) for n, s in zip((height, width), share, strict=True))
    top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
    part = np.array(clip[rng.integers(len(clip)), top : top + h, left : left + w])
    if rng.random() < 0.5:
        part = part[:, ::-1]
    small = cv2.resize(part, (FINE, FINE), interpolation=cv2.INTER_AREA)
    clean = torch.from_numpy(np.ascontiguousarray(small)).permute(2, 0, 1)[None].float() / 255
    clean = augment.colour_shift(clean, rng)[0]
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    settings = sample_settings(generator, haze_share=haze_share)
    transmission = haze_map(settings, torch.zeros(1), (GRID, GRID), clean.device, generator)[0]
    airlight = clean.new_tensor(settings.airlight).view(3, 1, 1)
    return Glimpses(clean, airlight * _pale_rain(rng), transmission, airlight)


def _pale_rain(rng: np.random.Generator) -> Tensor:
    """(FINE, FINE): what streaks too small to be told apart add to a picture, in falling smears.

    A third of the pictures have none.
    """
    amount = PALEST * rng.random() ** 2 if rng.random() < 2 / 3 else 0.0
    specks = cv2.blur(rng.standard_exponential((FINE, FINE), np.float32), (1, 5))
    return torch.from_numpy(amount * specks)
