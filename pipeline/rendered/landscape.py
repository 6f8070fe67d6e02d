"""A landscape in layers, which a camera drives past, and letters on the view: all of it drawn."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]  # (H, W, 3) RGB in [0, 1]
Color = tuple[float, float, float]
REACH = 3  # layers are this many views wide before they repeat
NEAR = 0.0105  # of the view's width: what the nearest layer scrolls in a frame


class Layer(NamedTuple):
    """A wide image that scrolls: colour times cover, and the cover, in float32."""

    paint: NDArray[np.float32]  # (rows, wide + view, 4): the first view is repeated at the end
    top: int  # the first row that covers anything
    wide: int
    speed: float  # as a share of the nearest layer's


def layer(color: Image, cover: NDArray[np.float32], speed: float) -> Layer:
    """A layer of (H, wide, 3) colour and (H, wide, 1) cover in [0, 1].

    Args:
        color: (H, wide, 3).
        cover: (H, wide, 1) in [0, 1]; 0 shows what is behind.
        speed: pixels that it moves while the nearest layer moves one.
    """
    wide = color.shape[1]
    top = max(0, int(np.argmax(cover.any((1, 2)))) - 2)
    paint = np.concatenate([color * cover, cover], -1)[top:].astype(np.float32)
    return Layer(np.concatenate([paint, paint[:, : wide // REACH + 4]], 1), top, wide, speed)


def noise(
    height: int, width: int, grain: float, rng: np.random.Generator, octaves: int = 5
) -> NDArray[np.float32]:
    """Fractal noise in [0, 1], (height, width, 1); wraps around sideways. `grain`: largest spot.

    Args:
        height: of the map, pixels.
        width: of the map, pixels.
        grain: size of the largest spots, pixels.
        rng: what is random.
        octaves: how many sizes of spots, each half of the one before.
    """
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
    """A colour, (3,).

    Args:
        red: in [0, 1].
        green: in [0, 1].
        blue: in [0, 1].
    """
    return np.array((red, green, blue), np.float32)


def mix_colors(a: Color, b: Color, share: NDArray[np.float32]) -> Image:
    """`a` where `share` is 0, `b` where it is 1.

    Args:
        a: red, green and blue in [0, 1].
        b: red, green and blue in [0, 1].
        share: (H, W, 1) in [0, 1].
    """
    return rgb(*a) + (rgb(*b) - rgb(*a)) * share


def landscape(height: int, width: int, seed: int = 7) -> list[Layer]:
    """An evening sky, mountains, wooded hills, a village and a meadow, from far to near.

    Args:
        height: of the view, pixels.
        width: of the view, pixels; layers are wider.
        seed: another seed, another landscape.
    """
    rng = np.random.default_rng(seed)
    wide = REACH * width
    whole = np.ones((height, wide, 1), np.float32)
    down = np.broadcast_to(np.linspace(0, 1, height, dtype=np.float32)[:, None, None], whole.shape)
    clouds = noise(height, wide, height / 2.5, rng) ** 1.6
    sky = mix_colors((0.25, 0.38, 0.58), (0.93, 0.72, 0.52), np.clip(down * 1.7, 0, 1))
    sky = sky + (rgb(0.98, 0.90, 0.84) - sky) * (0.55 * clouds * (1 - 0.4 * down))
    rock = mix_colors((0.30, 0.36, 0.48), (0.50, 0.53, 0.60), noise(height, wide, height / 8, rng))
    wood = mix_colors((0.10, 0.20, 0.14), (0.38, 0.45, 0.22), noise(height, wide, height / 16, rng))
    grass = mix_colors(
        (0.16, 0.24, 0.10), (0.52, 0.56, 0.26), noise(height, wide, height / 12, rng, 6)
    )
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


def look(layers: list[Layer], size: tuple[int, int], right: float, down: float = 0.0) -> Image:
    """The view of (height, width) after the camera moved `right` and `down`, in pixels.

    Sideways, far layers move less than the nearest; down, all move alike.

    Args:
        layers: from far to near.
        size: height and width of the view.
        right: pixels that the nearest layer has moved by.
        down: pixels that all layers have moved by.
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


def write_text(
    view: Image, text: str, x: float, y: float, size: float, thick: float = 0.004
) -> None:
    """White letters with a dark rim; place and size as shares of width and height.

    Args:
        view: (H, W, 3), painted on in place.
        text: one line.
        x: left end, share of the width.
        y: base line, share of the height.
        size: height of letters, share of the height.
        thick: of strokes, share of the height.
    """
    height, width = view.shape[:2]
    ink = np.zeros((height, width), np.uint8)  # OpenCV 5 writes on 8 bits alone
    place, scale = (round(x * width), round(y * height)), size * height / 22
    line = max(1, round(thick * height))
    cv2.putText(ink, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, line, cv2.LINE_AA)
    rim = cv2.dilate(ink, np.ones((3, 3), np.uint8))
    for color, mask in ((0.05, rim), (1.0, ink)):
        view += (np.float32(color) - view) * (mask[..., None] / np.float32(255))
