"""What is done to training clips besides rain: camera artefacts, overlays, things like rain.

Everything here teaches what is *not* rain. Clips are read in rendered_clips.py, rain is in rain/,
the motion of cameras in camera_motion.py.
"""

from __future__ import annotations

import string

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from derain.models.ops.image_arrays import to_tensor, to_uint8

Rng = np.random.Generator


def repainted(image: np.ndarray, rng: Rng) -> np.ndarray:
    """A still with things painted on that resemble rain; some are plain grey: (H, W, 3) uint8."""
    if rng.random() < 0.08:
        return np.full_like(image, rng.integers(60, 256))
    image = image.copy()
    if rng.random() < 0.5:
        _paint_stems(image, rng)
    if rng.random() < 0.3:
        _paint_snow(image, rng)
    return image


def _paint_stems(image: np.ndarray, rng: Rng) -> None:
    """Thin bright upright lines that belong to the scene."""
    height, width = image.shape[:2]
    for _ in range(rng.integers(5, 80)):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        length, lean = rng.uniform(8, 120), rng.normal(0, 0.15)
        shade = int(rng.uniform(120, 255))
        tint = np.clip(shade + rng.normal(0, 12, 3), 0, 255)
        start = (int(x * 16), int(y * 16))
        end = (int((x + lean * length) * 16), int((y + length) * 16))
        cv2.line(image, start, end, tint.tolist(), int(rng.integers(1, 3)), cv2.LINE_AA, 4)


def _paint_snow(image: np.ndarray, rng: Rng) -> None:
    """White specks and grain that belong to the scene: gravel, snow, glitter."""
    height, width = image.shape[:2]
    specks = rng.random((height, width)) < 10 ** rng.uniform(-3, -1)
    grain = cv2.GaussianBlur(specks.astype(np.float32), (0, 0), rng.uniform(0.5, 1.2))
    grain = np.clip(grain * rng.uniform(2, 5), 0, 1)[..., None]
    image[:] = (image * (1 - grain) + 255 * rng.uniform(0.7, 1) * grain).astype(np.uint8)


def overlay(ground: np.ndarray, rng: Rng) -> np.ndarray:
    """A caption, logo or clock that stands still: (H, W, 4) float32, colour and opacity.

    Args:
        ground: (H, W, 3) uint8, what it lies on; part of the captions are hardly brighter.
        rng: what is random.
    """
    height, width = ground.shape[:2]
    canvas = np.zeros((height, width, 4), np.float32)
    opacity = float(rng.choice([1.0, rng.uniform(0.4, 1.0), rng.uniform(0.15, 0.6)]))
    pale = rng.random() < 0.35
    for _ in range(rng.integers(1, 4)):
        shade = float(rng.choice([1.0, 1.0, 0.0, rng.random()]))
        colour = rng.random(3) if rng.random() < 0.2 else np.full(3, shade)
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        shape = np.zeros((height, width), np.uint8)
        if rng.random() < 0.7 or pale:
            edge = _write_letters(shape, (x - width // 3, y), rng)
            if rng.random() < 0.5 and not pale:
                _stamp(canvas, edge, np.full(3, 1 - shade), opacity)
        elif rng.random() < 0.5:
            radius, weight = int(rng.integers(3, 20)), int(rng.integers(1, 4))
            cv2.circle(shape, (x, y), radius, 255, weight, cv2.LINE_AA)
        else:
            far = (x + int(rng.integers(3, 60)), y + int(rng.integers(1, 25)))
            cv2.rectangle(shape, (x, y), far, 255, int(rng.choice([-1, 1, 2])))
        if pale and shape.any():
            colour = _paler(ground[shape > 0].mean(0) / 255, opacity, rng)
        if rng.random() < 0.4:  # made at another size once
            shape = cv2.GaussianBlur(shape, (0, 0), float(rng.uniform(0.4, 1.0)))
        _stamp(canvas, shape, colour, opacity)
    return canvas


def _write_letters(shape: np.ndarray, place: tuple[int, int], rng: Rng) -> np.ndarray:
    """Write a word on `shape` (H, W) in place; returns the same with letters that are bolder."""
    letters = list(string.ascii_lowercase + string.ascii_letters + string.digits + ":./- ")
    text = "".join(rng.choice(letters, rng.integers(2, 14)))
    edge = np.zeros_like(shape)
    if rng.random() < 0.5:  # shapes of print, thin ones
        font = ImageFont.load_default(float(rng.uniform(7, 30)))
        for target, weight in ((shape, 0), (edge, 1)):
            page = Image.fromarray(target)
            ImageDraw.Draw(page).text(place, text, 255, font, stroke_width=weight)
            target[:] = np.array(page)
        return edge
    face, size = int(rng.choice([0, 1, 2, 3, 4, 6])), float(rng.uniform(0.2, 1.4))
    weight = int(rng.choice([1, 1, 2, 3]))
    cv2.putText(edge, text, place, face, size, 255, weight + 2, cv2.LINE_AA)
    cv2.putText(shape, text, place, face, size, 255, weight, cv2.LINE_AA)
    return edge


def _paler(ground: np.ndarray, opacity: float, rng: Rng) -> np.ndarray:
    """A colour that shows on a ground (3,) in [0, 1] by 10 to 60 grey levels, mostly brighter."""
    contrast = float(rng.uniform(0.04, 0.24)) / opacity
    up = rng.random() < 0.85
    return np.clip(ground.mean() + (contrast if up else -contrast), 0, 1) * np.ones(3)


def _stamp(canvas: np.ndarray, shape: np.ndarray, colour: np.ndarray, opacity: float) -> None:
    cover = (shape.astype(np.float32) / 255)[..., None]
    canvas[..., :3] += cover * (colour.astype(np.float32) - canvas[..., :3])
    canvas[..., 3:] = np.maximum(canvas[..., 3:], cover * opacity)


def lay_over(clip: Tensor, layer: Tensor) -> Tensor:
    """Blend an overlay (4, H, W) over a clip (T, 3, H, W)."""
    return torch.lerp(clip, layer[:3], layer[3:])


def colour_shift(clip: Tensor, rng: Rng) -> Tensor:
    """One exposure, saturation and gamma for a whole clip (T, 3, H, W) in [0, 1].

    Gentle, and contrast is left alone: a washed-out clean clip would look like haze.
    """
    gamma, gain = np.exp(rng.normal(0, 0.12)), np.exp(rng.normal(-0.03, 0.08))
    return recolour(clip, gamma, np.full(3, gain), rng.uniform(0.75, 1.2))


def recolour(image: Tensor, gamma: float, gain: np.ndarray, saturation: float) -> Tensor:
    """Another gamma, gain (of each channel) and saturation of images (…, 3, H, W) in [0, 1].

    Args:
        image: (…, 3, H, W), RGB in [0, 1].
        gamma: exponent, above 0; above 1 darkens.
        gain: (3,), of the channels.
        saturation: 1 leaves it, 0 makes grey.
    """
    image = image.clamp_min(1e-4) ** float(gamma)
    image = image * image.new_tensor(gain).view(3, 1, 1)
    grey = image.mean(-3, keepdim=True)
    return (grey + (image - grey) * float(saturation)).clamp(0, 1)


def night(clip: Tensor, rng: Rng) -> Tensor:
    """A clip (T, 3, H, W) as if taken in the dark; lamps stay bright."""
    dark = clip ** float(rng.uniform(1.2, 2.2)) * float(rng.uniform(0.2, 0.6))
    lamps = ((clip.mean(1, keepdim=True) - 0.8) / 0.2).clamp(0, 1)
    return torch.lerp(dark, clip, lamps * float(rng.uniform(0, 1)))


def repeats(frames: int, rng: Rng) -> np.ndarray:
    """Indices of the frames of a film that shows some of them twice, as files from the wild do."""
    fresh = rng.random(frames) < rng.uniform(0.4, 0.9)
    if rng.random() < 0.5:  # regularly: every second or third
        fresh = np.arange(frames) % int(rng.integers(2, 4)) != 1
    return np.maximum.accumulate(np.where(fresh, np.arange(frames), 0))


def boldness(rng: Rng) -> Tensor:
    """What a sample asks of a network with this dial, (1, 1, 1); half of them 0.5, the default."""
    return torch.full((1, 1, 1), 0.5 if rng.random() < 0.5 else float(rng.random()))


def camera_noise(shape: torch.Size, rng: Rng) -> Tensor:
    """Grain of a camera, (T, 3, H, W), some of it coarser and some of it grey."""
    sigma = float(10 ** rng.uniform(-2.7, -1.5))
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    noise = torch.randn(shape, generator=generator) * sigma
    if rng.random() < 0.5:
        noise = noise.mean(1, keepdim=True).expand(shape) * 1.5
    if rng.random() < 0.3:
        noise = (noise + noise.roll(1, -1) + noise.roll(1, -2)) / 1.5
    return noise


def jpeg(clip: Tensor, quality: int) -> Tensor:
    """Compress every frame of (T, 3, H, W) by itself, as video compression leaves its blocks."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
    frames = []
    for frame in to_uint8(clip):
        _, data = cv2.imencode(".jpg", np.ascontiguousarray(frame[..., ::-1]), flags)
        frames.append(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])
    return to_tensor(np.stack(frames)).to(clip.device)
