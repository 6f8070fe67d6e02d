"""What is done to training clips besides rain: camera artefacts, overlays, and panned stills.

Everything here teaches what is *not* rain. Reading clips is in rendered_clips.py, rain in rain.py.
"""

from __future__ import annotations

import string

import cv2
import numpy as np
import torch
from torch import Tensor

from derain.models.ops.image_arrays import to_tensor, to_uint8

Rng = np.random.Generator


def panned_still(image: np.ndarray, frames: int, crop: int, rng: Rng) -> np.ndarray:
    """A still image seen by a moving camera, with things painted on that resemble rain.

    Args:
        image: (H, W, 3) uint8.
        frames: how many.
        crop: height and width of the view, pixels.
        rng: what is random.

    Returns:
        (frames, crop, crop, 3) uint8. The path may jerk; the image may be plain grey.
    """
    if rng.random() < 0.08:
        grey = rng.integers(60, 256)
        return np.full((frames, crop, crop, 3), grey, np.uint8)
    image = image.copy()
    if rng.random() < 0.5:
        _paint_stems(image, rng)
    if rng.random() < 0.3:
        _paint_snow(image, rng)
    height, width = image.shape[:2]
    speed = rng.normal(0, rng.choice([0.5, 2.0, 6.0]), 2)
    speeds = speed + rng.normal(0, 0.3, (frames, 2))
    if rng.random() < 0.3 and frames > 1:
        speeds[rng.integers(1, frames)] += rng.normal(0, 25, 2)
    path = np.cumsum(speeds, 0)
    path -= path.mean(0)
    zoom = rng.uniform(0.7, 1.6) * (1 + rng.normal(0, 0.004) * np.arange(frames))
    turn = rng.normal(0, 0.003) * np.arange(frames)
    centre = np.array([rng.uniform(0.3, 0.7) * width, rng.uniform(0.3, 0.7) * height])
    clip = []
    for k in range(frames):
        c, s = np.cos(turn[k]) / zoom[k], np.sin(turn[k]) / zoom[k]
        matrix = np.array([[c, -s, 0.0], [s, c, 0.0]])
        matrix[:, 2] = centre + path[k] - matrix[:, :2] @ [crop / 2, crop / 2]
        clip.append(
            cv2.warpAffine(
                image,
                matrix,
                (crop, crop),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REFLECT_101,
            )
        )
    return np.stack(clip)


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


def overlay(crop: int, rng: Rng) -> np.ndarray:
    """A caption, logo or clock that stands still: (crop, crop, 4) float32, colour and opacity."""
    canvas = np.zeros((crop, crop, 4), np.float32)
    opacity = float(rng.choice([1.0, rng.uniform(0.4, 1.0), rng.uniform(0.15, 0.6)]))
    for _ in range(rng.integers(1, 4)):
        shade = float(rng.choice([1.0, 1.0, 0.0, rng.random()]))
        colour = rng.random(3) if rng.random() < 0.2 else np.full(3, shade)
        x, y = (int(v) for v in rng.integers(0, crop, 2))
        shape = np.zeros((crop, crop), np.uint8)
        if rng.random() < 0.7:
            letters = list(string.ascii_letters + string.digits + ":./- ")
            text = "".join(rng.choice(letters, rng.integers(2, 14)))
            font = int(rng.choice([0, 1, 2, 3, 4, 6]))
            size, weight = float(rng.uniform(0.2, 1.4)), int(rng.choice([1, 1, 2, 3]))
            place = (x - crop // 3, y)
            if rng.random() < 0.5:
                edge = np.zeros_like(shape)
                cv2.putText(edge, text, place, font, size, 255, weight + 2, cv2.LINE_AA)
                _stamp(canvas, edge, np.full(3, 1 - shade), opacity)
            cv2.putText(shape, text, place, font, size, 255, weight, cv2.LINE_AA)
        elif rng.random() < 0.5:
            radius, weight = int(rng.integers(3, 20)), int(rng.integers(1, 4))
            cv2.circle(shape, (x, y), radius, 255, weight, cv2.LINE_AA)
        else:
            far = (x + int(rng.integers(3, 60)), y + int(rng.integers(1, 25)))
            cv2.rectangle(shape, (x, y), far, 255, int(rng.choice([-1, 1, 2])))
        _stamp(canvas, shape, colour, opacity)
    return canvas


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
        image: RGB.
        gamma: exponent.
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
    lamps = ((clip - 0.85) / 0.15).clamp(0, 1)
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
