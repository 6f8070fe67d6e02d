"""Scenes the project renders itself: a landscape for demo, bench and tests, and things not rain.

Deterministic, any size, any length: a frame is a function of its index. Layers are wide images
that scroll at their own speed and repeat far outside the view. Rain is put on elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from derain.models.errors import DerainError
from derain.models.ops.image_arrays import quantised, to_tensor
from derain.pipeline.rendered.landscape import (
    NEAR,
    REACH,
    Image,
    landscape,
    layer,
    look,
    mix_colors,
    noise,
    rgb,
    write_text,
)


class Scene(NamedTuple):
    """A clean clip without rain, and where to look when something must not be taken for rain."""

    clean: Tensor  # (T, 3, H, W) float32 in [0, 1]
    focus: Tensor  # (T, 1, H, W) bool


def _balloon(view: Image, t: int) -> None:
    """A striped balloon that drifts against the camera's motion."""
    height, width = view.shape[:2]
    x = width * ((0.75 - 0.0016 * t) % 1.2 - 0.1)
    y, r = height * (0.26 + 0.02 * math.sin(t / 9)), height * 0.095
    low = int(y + 1.45 * r)
    for side in (-1, 1):
        start, end = (int(x + side * 0.55 * r), int(y + 0.95 * r)), (int(x + side * 0.15 * r), low)
        cv2.line(view, start, end, (0.3, 0.25, 0.2), 1, cv2.LINE_AA)
    corner = (int(x + 0.18 * r), int(y + 1.7 * r))
    cv2.rectangle(view, (int(x - 0.18 * r), low), corner, (0.32, 0.22, 0.12), -1, cv2.LINE_AA)
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    u, v = (xs - x) / r, (ys - y) / (1.15 * r)
    ball = np.clip((1 - np.hypot(u, v)) * r * 0.7, 0, 1)[..., None]
    around = np.arcsin(np.clip(u / np.sqrt(np.clip(1 - v * v, 0.05, 1)), -1, 1))
    stripe = np.clip(0.5 + 4 * np.sin(7 * around), 0, 1)[..., None]
    color = rgb(0.80, 0.22, 0.16) * stripe + rgb(0.95, 0.83, 0.6) * (1 - stripe)
    shade = 1.05 - 0.35 * np.clip(u + v, -1, 1)[..., None]
    view += (color * shade - view) * ball


def demo_frames(height: int, width: int, frames: int) -> Iterator[Image]:
    """The scene of `derain demo`: a drive past a village, a balloon, a still caption.

    Args:
        height: of the frames, pixels.
        width: of the frames, pixels.
        frames: length of the scene.
    """
    layers = landscape(height, width)
    for t in range(frames):
        sway = 0.006 * height * math.sin(t / 11)
        view = look(layers, (height, width), NEAR * width * t, sway)
        _balloon(view, t)
        write_text(view, f"village road  {t // 25:02d}:{t % 25:02d}", 0.03, 0.96, 0.055)
        yield view.clip(0, 1)


Looked = Iterator[tuple[Image, NDArray[np.bool_]]]  # views, and masks (H, W, 1) of the focus


def _captions(height: int, width: int, frames: int) -> Looked:
    """Caption, clock and logo that stand still while the camera moves."""
    layers = landscape(height, width, seed=3)
    x, y, r = round(0.09 * width), round(0.12 * height), round(0.06 * height)
    logo = np.zeros((height, width, 1), np.float32)
    cv2.circle(logo, (x, y), r, 0.7, max(2, height // 90), cv2.LINE_AA)
    cv2.line(logo, (x, y - r), (x, y + r), 0.7, max(2, height // 90), cv2.LINE_AA)
    for t in range(frames):
        view = look(layers, (height, width), 1.2 * NEAR * width * t)
        before = view.copy()
        write_text(view, "Captions do not move", 0.22, 0.93, 0.07, 0.006)
        write_text(view, f"12:34:{t // 4:02d}", 0.76, 0.1, 0.055)
        view += (rgb(0.9, 0.9, 0.95) - view) * logo
        yield view, np.abs(view - before).max(-1, keepdims=True) > 0.01


def _jerk(height: int, width: int, frames: int) -> Looked:
    """A camera that jumps by an eighth of the image, twice; the borders are new then."""
    layers = [x._replace(speed=1.0) for x in landscape(height, width, seed=5)]
    edge = max(4, height // 10)
    border = np.ones((height, width, 1), bool)
    border[edge:-edge, edge:-edge] = False
    for t in range(frames):
        jumps = sum(t >= share * frames for share in (0.4, 0.7))
        right = 0.3 * NEAR * width * t + jumps * width / 8
        yield look(layers, (height, width), right, (jumps % 2) * height / 16), border


def _stems(height: int, width: int, frames: int) -> Looked:
    """Thin, bright, upright stems in front of a meadow, one to two pixels wide."""
    rng = np.random.default_rng(11)
    wide = REACH * width
    meadow = mix_colors(
        (0.12, 0.2, 0.08), (0.42, 0.5, 0.24), noise(height, wide, height / 6, rng, 6)
    )
    stems = np.zeros((height, wide, 1), np.float32)
    for _ in range(wide // 8):
        x, y = rng.uniform(0, wide), rng.uniform(0.25, 1.05) * height
        length, lean = rng.uniform(0.06, 0.25) * height, rng.uniform(-0.08, 0.08)
        start = (round(16 * x), round(16 * y))
        end = (round(16 * (x + lean * length)), round(16 * (y - length)))
        thick = 1 if rng.random() < 0.7 else 2
        cv2.line(stems, start, end, rng.uniform(0.4, 0.95), thick, cv2.LINE_AA, shift=4)
    straw = np.ones((height, wide, 3), np.float32) * rgb(0.93, 0.9, 0.72)
    front, whole = layer(straw, stems, 1.0), layer(meadow, np.ones_like(stems), 1.0)
    for t in range(frames):
        right = 0.35 * NEAR * width * t + 2 * math.sin(t / 3) + 2
        view = look([whole, front], (height, width), right)
        yield view, look([front], (height, width), right).max(-1, keepdims=True) > 0.1


def _snow(height: int, width: int, frames: int) -> Looked:
    """Sunlit snow, nearly white and grainy, with a few stones; the camera pans."""
    rng = np.random.default_rng(13)
    wide = REACH * width
    drift = 0.86 + 0.14 * noise(height, wide, height / 3, rng, 4)
    grain = cv2.GaussianBlur(rng.random((height, wide), np.float32), (0, 0), 0.9)[..., None]
    snow = (drift + 0.6 * (grain - 0.5)).clip(0, 1) * rgb(0.97, 0.98, 1.0)
    stones = np.clip((noise(height, wide, height / 5, rng, 4) - 0.82) * 25, 0, 1)
    rock = mix_colors((0.2, 0.19, 0.18), (0.45, 0.43, 0.4), noise(height, wide, height / 20, rng))
    layers = [layer(snow, np.ones_like(stones), 1.0), layer(rock, stones, 1.0)]
    for t in range(frames):
        view = look(layers, (height, width), 0.45 * NEAR * width * t)
        yield view, view.min(-1, keepdims=True) > 0.6


SCENES: dict[str, Callable[[int, int, int], Looked]] = {
    "captions": _captions,
    "jerk": _jerk,
    "stems": _stems,
    "snow": _snow,
}


def render_scene(name: str, frames: int = 24, size: tuple[int, int] = (640, 360)) -> Scene:
    """One of `SCENES` as tensors, rounded to 8 bits; `size` is width and height.

    Args:
        name: a key of `SCENES`.
        frames: length of the scene.
        size: width and height, pixels.

    Raises:
        DerainError: there is no such scene.
    """
    if name not in SCENES:
        raise DerainError(f"There is no scene '{name}'; choose one of {', '.join(SCENES)}.")
    width, height = size
    pairs = list(SCENES[name](height, width, frames))
    clean = to_tensor(np.stack([view for view, _ in pairs]))
    focus = torch.from_numpy(np.stack([mask for _, mask in pairs])).permute(0, 3, 1, 2)
    return Scene(quantised(clean), focus)
