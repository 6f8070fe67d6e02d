"""What teaches a haze estimator (networks/haze_estimator.py): small whole frames, haze for some.

The crops that teach the rest of a network are parts of scenes, from which haze cannot be told; they
come with their haze. Thumbnails are cheap, so that each step can see many.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from derain.models.networks.haze_estimator import FINE, GRID
from derain.models.ops.image_arrays import to_tensor
from derain.stages.data import augment
from derain.stages.data.rain import haze_map, sample_settings

SMALLEST = 0.45  # share of a frame's height and width that a thumbnail shows at least
PALEST = 0.1  # share of the airlight that rain adds on average, at most
PATCHED = 0.35  # share of the thumbnails that part of another clip stands in
PAINTED = 0.2  # share of the thumbnails that no camera took
SOFT = 0.35  # share of the thumbnails that are out of focus
SOFTEST = 4.0  # pixels of FINE, the standard deviation of the blur at most


class Thumbnails(NamedTuple):
    """Small images (…, 3, FINE, FINE), and what is to be put on them.

    streaks: (…, 3, FINE, FINE), the light of rain. transmission: (…, 1, GRID, GRID). airlight:
    (…, 3, 1, 1).
    """

    clean: Tensor
    streaks: Tensor
    transmission: Tensor
    airlight: Tensor


def draw_thumbnails(
    files: list[Path], count: int, rng: np.random.Generator, haze_prob: float
) -> Thumbnails:
    """`count` thumbnails of the clips (.npy); a share of them, drawn one by one, have haze.

    Args:
        files: decoded clips, .npy.
        count: how many thumbnails.
        rng: what is random.
        haze_prob: share of them with haze, in [0, 1].
    """
    drawn = [_draw(files, rng, haze_prob) for _ in range(count)]
    return Thumbnails(*(torch.stack(parts) for parts in zip(*drawn, strict=True)))


def _draw(files: list[Path], rng: np.random.Generator, haze_prob: float) -> Thumbnails:
    """An image, some with part of another, and haze to put on it."""
    image = _painted(rng) if rng.random() < PAINTED else _image(files, rng)
    if rng.random() < PATCHED:
        _patch(image, _image(files, rng), rng)
    if rng.random() < SOFT:  # what is blurred has little contrast, and yet no haze
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, SOFTEST))
    clean = _recolour(to_tensor(image), rng)
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    settings = sample_settings(generator, haze_prob=haze_prob)
    transmission = haze_map(settings, torch.zeros(1), (GRID, GRID), clean.device, generator)[0]
    airlight = clean.new_tensor(settings.airlight).view(3, 1, 1)
    return Thumbnails(clean, airlight * _pale_rain(rng), transmission, airlight)


def _image(files: list[Path], rng: np.random.Generator) -> np.ndarray:
    """A frame of one of the clips (.npy), most of it or all: (FINE, FINE, 3) uint8."""
    clip = np.load(files[rng.integers(len(files))], mmap_mode="r")
    height, width = clip.shape[1:3]
    share = rng.uniform(SMALLEST, 1, 2) if rng.random() < 0.6 else np.ones(2)
    h, w = (int(n * s) for n, s in zip((height, width), share, strict=True))
    top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
    part = np.array(clip[rng.integers(len(clip)), top : top + h, left : left + w])
    small = cv2.resize(part, (FINE, FINE), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small[:, ::-1]) if rng.random() < 0.5 else small


def _painted(rng: np.random.Generator) -> np.ndarray:
    """Bands of soft colour, (FINE, FINE, 3) uint8, as in animation; often paler towards the top.

    Far hills are pale and a sky has no dark parts, in clear air too: what is near tells.
    """
    image = np.zeros((FINE, FINE, 3), np.float32)
    rows = np.arange(FINE, dtype=np.float32)[:, None, None]
    horizon, deep = -8.0, rng.random() < 0.6
    while horizon < FINE:
        coarse = rng.random((rng.integers(2, 12), rng.integers(2, 12)), np.float32)
        clouds = cv2.resize(coarse, (FINE, FINE), interpolation=cv2.INTER_CUBIC)
        near = np.clip(horizon / FINE, 0, 1) if deep else rng.random()
        tone = rng.uniform(0.35, 0.95) * (1 - 0.6 * near)
        bright = tone * (1 + rng.uniform(0, 0.5) * rng.uniform(-1, 1, 3))
        contrast = rng.uniform(0.05, 0.4) + 0.55 * near
        edge = horizon + 8 * cv2.resize(rng.random((1, 6), np.float32), (FINE, 1))[0]
        paint = bright * (1 - contrast * clouds[..., None])
        image = np.where(rows >= edge[None, :, None], paint, image)
        horizon += rng.uniform(0.1, 0.5) * FINE
    return (255 * image.clip(0, 1)).astype(np.uint8)


def _patch(image: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> None:
    """Put the upper part, the left part or a piece of `other` in its place in `image`.

    There are few clips: a sky over another street is one more scene.
    """
    edge = int(FINE * rng.uniform(0.25, 0.75))
    kind = rng.integers(3)
    if kind == 0:
        image[:edge] = other[:edge]
    elif kind == 1:
        image[:, :edge] = other[:, :edge]
    else:
        top, left = rng.integers(0, FINE // 2, 2)
        h, w = rng.integers(FINE // 4, FINE // 2, 2)
        image[top : top + h, left : left + w] = other[top : top + h, left : left + w]


def _recolour(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Other exposure, gamma, saturation and white of an image (3, H, W) in [0, 1].

    More than what whole clips get (`augment.colour_shift`), for the same reason as `_patch`.
    """
    gamma = np.exp(rng.normal(0, 0.22))
    gain = np.exp(rng.normal(0, 0.06, 3) + rng.normal(-0.03, 0.14))
    return augment.recolour(image, gamma, gain, rng.uniform(0.6, 1.3))


def _pale_rain(rng: np.random.Generator) -> Tensor:
    """(FINE, FINE): what streaks too small to be told apart add to an image, in falling smears.

    A third of the images have none.
    """
    amount = PALEST * rng.random() ** 2 if rng.random() < 2 / 3 else 0.0
    specks = cv2.blur(rng.standard_exponential((FINE, FINE), np.float32), (1, 5))
    return torch.from_numpy(amount * specks)
