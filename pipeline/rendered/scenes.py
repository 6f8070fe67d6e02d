"""Scenes the project renders itself: a landscape for demo, bench and tests, and things not rain.

Deterministic, any size, any length: a frame is a function of its index. Layers are wide pictures
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

Picture = NDArray[np.float32]  # (H, W, 3) RGB in [0, 1]
Color = tuple[float, float, float]

REACH = 3  # layers are this many views wide before they repeat
NEAR = 0.0105  # of the view's width: what the nearest layer scrolls in a frame


class Layer(NamedTuple):
    """A wide picture that scrolls: colour times cover, and the cover, in float32."""

    paint: NDArray[np.float32]  # (rows, wide + view, 4): the first view is repeated at the end
    top: int  # the first row that covers anything
    wide: int
    speed: float  # as a share of the nearest layer's


def layer(color: Picture, cover: NDArray[np.float32], speed: float) -> Layer:
    """A layer of (H, wide, 3) colour and (H, wide, 1) cover in [0, 1]."""
    wide = color.shape[1]
    top = max(0, int(np.argmax(cover.any((1, 2)))) - 2)
    paint = np.concatenate([color * cover, cover], -1)[top:].astype(np.float32)
    return Layer(np.concatenate([paint, paint[:, : wide // REACH + 4]], 1), top, wide, speed)


class Scene(NamedTuple):
    """A clean clip without rain, and where to look when something must not be taken for rain."""

    clean: Tensor  # (T, 3, H, W) float32 in [0, 1]
    focus: Tensor  # (T, 1, H, W) bool


def noise(
    height: int, width: int, grain: float, rng: np.random.Generator, octaves: int = 5
) -> NDArray[np.float32]:
    """Fractal noise in [0, 1], (height, width, 1); wraps around sideways. `grain`: largest spot."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        cell = max(2.0, grain / 2**octave)
        rows, columns = math.ceil(height / cell) + 3, max(4, round(width / cell))
        grid = rng.random((rows, columns), np.float32) - 0.5
        wrapped = np.concatenate([grid[:, -2:], grid, grid[:, :2]], 1)
        scale = width / columns
        big = cv2.resize(wrapped, None, fx=scale, fy=cell, interpolation=cv2.INTER_CUBIC)
        left, top = round(2 * scale), round(cell)
        total += (
            0.6**octave
            * cv2.resize(big, (round(big.shape[1]), big.shape[0]))[
                top : top + height, left : left + width
            ]
        )
    low, high = np.percentile(total, (1, 99))
    return np.clip((total - low) / (high - low), 0, 1)[..., None]


def _ridge(
    height: int, width: int, level: float, swing: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """The cover of ground below a wavy skyline, (height, width, 1)."""
    x = np.linspace(0, 2 * math.pi, width, endpoint=False)
    waves = sum(
        math.sqrt(1 / k) * np.sin(k * x + rng.uniform(0, 2 * math.pi)) for k in (3, 5, 9, 17, 33)
    )
    skyline = height * (level + swing * np.asarray(waves) / 3)
    rows = np.arange(height)[:, None]
    return np.clip(rows - skyline[None] + 0.5, 0, 1).astype(np.float32)[..., None]


def rgb(red: float, green: float, blue: float) -> NDArray[np.float32]:
    """A colour, (3,)."""
    return np.array((red, green, blue), np.float32)


def _mix(a: Color, b: Color, share: NDArray[np.float32]) -> Picture:
    return rgb(*a) + (rgb(*b) - rgb(*a)) * share


def landscape(height: int, width: int, seed: int = 7) -> list[Layer]:
    """An evening sky, mountains, wooded hills, a village and a meadow, from far to near."""
    rng = np.random.default_rng(seed)
    wide = REACH * width
    whole = np.ones((height, wide, 1), np.float32)
    down = np.broadcast_to(np.linspace(0, 1, height, dtype=np.float32)[:, None, None], whole.shape)
    clouds = noise(height, wide, height / 2.5, rng) ** 1.6
    sky = _mix((0.25, 0.38, 0.58), (0.93, 0.72, 0.52), np.clip(down * 1.7, 0, 1))
    sky = sky + (rgb(0.98, 0.90, 0.84) - sky) * (0.55 * clouds * (1 - 0.4 * down))
    rock = _mix((0.30, 0.36, 0.48), (0.50, 0.53, 0.60), noise(height, wide, height / 8, rng))
    wood = _mix((0.10, 0.20, 0.14), (0.38, 0.45, 0.22), noise(height, wide, height / 16, rng))
    grass = _mix((0.16, 0.24, 0.10), (0.52, 0.56, 0.26), noise(height, wide, height / 12, rng, 6))
    layers = [
        layer(sky, whole, 0.05),
        layer(rock, _ridge(height, wide, 0.42, 0.06, rng), 0.15),
        layer(wood, _ridge(height, wide, 0.56, 0.04, rng), 0.35),
        _village(height, wide, rng),
        layer(grass, _ridge(height, wide, 0.80, 0.012, rng), 0.8),
    ]
    return [*layers, _fence(height, wide, rng)]


def _village(height: int, wide: int, rng: np.random.Generator) -> Layer:
    """Houses with roofs and lit windows along the meadow."""
    color, cover = np.zeros((height, wide, 3), np.float32), np.zeros((height, wide), np.float32)
    ground, left = round(0.83 * height), round(0.05 * height)
    while left < wide - 0.35 * height:
        w, h = (round(height * rng.uniform(*r)) for r in ((0.12, 0.24), (0.10, 0.22)))
        top, wall = ground - h, rng.uniform(0.45, 0.8) * np.array((1, rng.uniform(0.8, 1), 0.75))
        roof = np.array(
            [[left - w // 9, top], [left + w // 2, top - w // 3], [left + w + w // 9, top]]
        )
        for paint, value in ((color, tuple(map(float, wall))), (cover, 1.0)):
            cv2.rectangle(paint, (left, top), (left + w, ground), value, -1)
        for paint, value in ((color, (0.42, 0.17, 0.12)), (cover, 1.0)):
            cv2.fillPoly(paint, [roof], value, cv2.LINE_AA)
        step = max(4, round(0.05 * height))
        for x in range(left + step // 2, left + w - step // 2, step):
            for y in range(top + step // 2, ground - step // 2, step):
                lit = (0.98, 0.84, 0.45) if rng.random() < 0.35 else (0.15, 0.17, 0.22)
                cv2.rectangle(color, (x, y), (x + step // 2, y + step // 2), lit, -1)
        left += w + round(height * rng.uniform(0.02, 0.5))
    color *= 0.85 + 0.3 * noise(height, wide, height / 40, rng, 3)
    return layer(color.clip(0, 1), cover[..., None], 0.6)


def _fence(height: int, wide: int, rng: np.random.Generator) -> Layer:
    """Posts and two rails, close to the camera."""
    color = np.zeros((height, wide, 3), np.float32) + rgb(0.34, 0.24, 0.15)
    color *= 0.7 + 0.6 * noise(height, wide, height / 20, rng, 4)
    cover, gap = np.zeros((height, wide), np.float32), wide // max(1, round(wide / (0.4 * height)))
    for y in (0.87, 0.93):
        cv2.rectangle(cover, (0, round(y * height)), (wide, round((y + 0.012) * height)), 1.0, -1)
    for x in range(0, wide, gap):
        cv2.rectangle(cover, (x, round(0.84 * height)), (x + round(0.02 * height), height), 1.0, -1)
    return layer(color.clip(0, 1), cover[..., None], 1.0)


def look(layers: list[Layer], size: tuple[int, int], right: float, down: float = 0.0) -> Picture:
    """The view of (height, width) after the camera moved `right` and `down`, in pixels.

    Sideways, far layers move less than the nearest; down, all move alike.
    """
    height, width = size
    view = np.zeros((height, width, 3), np.float32)
    for paint, top, wide, speed in layers:
        whole, part = divmod((right * speed) % wide, 1)
        strip = paint[:, int(whole) : int(whole) + width + 4]
        shift = np.array(
            [[1, 0, part], [0, 1, down - top]], np.float32
        )  # from the view to the strip
        how = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        # What touches the top or bottom goes on beyond it; above a skyline there is nothing.
        seen = cv2.warpAffine(
            strip, shift, (width, height), flags=how, borderMode=cv2.BORDER_REPLICATE
        )
        view = view * (1 - seen[..., 3:].clip(0, 1)) + seen[..., :3]
    return view.clip(0, 1)


def _balloon(view: Picture, t: int) -> None:
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


def write_text(
    view: Picture, text: str, x: float, y: float, size: float, thick: float = 0.004
) -> None:
    """White letters with a dark rim; place and size as shares of width and height."""
    height, width = view.shape[:2]
    ink = np.zeros((height, width), np.uint8)  # OpenCV 5 writes on 8 bits alone
    place, scale = (round(x * width), round(y * height)), size * height / 22
    line = max(1, round(thick * height))
    cv2.putText(ink, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, line, cv2.LINE_AA)
    rim = cv2.dilate(ink, np.ones((3, 3), np.uint8))
    for color, mask in ((0.05, rim), (1.0, ink)):
        view += (np.float32(color) - view) * (mask[..., None] / np.float32(255))


def demo_frames(height: int, width: int, frames: int) -> Iterator[Picture]:
    """The scene of `derain demo`: a drive past a village, a balloon, a still caption."""
    layers = landscape(height, width)
    for t in range(frames):
        sway = 0.006 * height * math.sin(t / 11)
        view = look(layers, (height, width), NEAR * width * t, sway)
        _balloon(view, t)
        write_text(view, f"village road  {t // 25:02d}:{t % 25:02d}", 0.03, 0.96, 0.055)
        yield view.clip(0, 1)


Looked = Iterator[tuple[Picture, NDArray[np.bool_]]]  # views, and masks (H, W, 1) of the focus


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
    """A camera that jumps by an eighth of the picture, twice; the borders are new then."""
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
    meadow = _mix((0.12, 0.2, 0.08), (0.42, 0.5, 0.24), noise(height, wide, height / 6, rng, 6))
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
    rock = _mix((0.2, 0.19, 0.18), (0.45, 0.43, 0.4), noise(height, wide, height / 20, rng))
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

    Raises:
        DerainError: there is no such scene.
    """
    if name not in SCENES:
        raise DerainError(f"There is no scene '{name}'; choose one of {', '.join(SCENES)}.")
    width, height = size
    pairs = list(SCENES[name](height, width, frames))
    clean = torch.from_numpy(np.stack([view for view, _ in pairs])).permute(0, 3, 1, 2)
    focus = torch.from_numpy(np.stack([mask for _, mask in pairs])).permute(0, 3, 1, 2)
    return Scene((clean * 255).round() / 255, focus)
