"""What tests of backgrounds share: a textured scene, and rain over it."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from derain.models.ops.image_arrays import to_tensor
from derain.pipeline.background.frames import Image
from derain.stages.data.rain import RainSettings, StreakLayer, render_rain


def _scene(height: int, width: int, seed: int = 1) -> Image:
    """A coloured texture with detail of all sizes, as photographs have."""
    rng = np.random.default_rng(seed)
    image = np.zeros((height, width, 3))
    for octave in range(2, 8):
        noise = rng.uniform(-1, 1, (2**octave, 2**octave + 1, 3))
        image += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) / octave
    image -= image.min()
    return np.rint(image / image.max() * 200 + 20).astype(np.uint8)


def _rain_over(clean: Image, count: int, seed: int = 5, noise: float = 2.0) -> list[Image]:
    """Frames of a still scene under three layers of streaks and the noise of a sensor."""
    height, width = clean.shape[:2]
    layers = tuple(
        StreakLayer(c, length, breadth, bright, opaque=0.0, fall=2.0, blur=0.0)
        for c, length, breadth, bright in (
            (0.08, 20, 1.0, 0.5),
            (0.06, 40, 1.5, 0.6),
            (0.03, 70, 2.5, 0.8),
        )
    )
    still = to_tensor(clean)[None]
    rng = np.random.default_rng(seed)
    frames: list[Image] = []
    for start in range(0, count, 10):
        clip = still.expand(min(10, count - start), -1, -1, -1)
        rainy = render_rain(clip, RainSettings(layers=layers), seed, start=start).rainy
        values = rainy.permute(0, 2, 3, 1).numpy() * 255
        values = values + rng.normal(0, noise, (len(clip), height, width, 1))
        frames += list(np.rint(values).clip(0, 255).astype(np.uint8))
    return frames


def _psnr(a: Image, b: Image) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


@pytest.fixture(scope="session")
def scene() -> Callable[..., Image]:
    """`scene(height, width, seed=1)`: an image."""
    return _scene


@pytest.fixture(scope="session")
def rain_over() -> Callable[..., list[Image]]:
    """`rain_over(clean, count)`: frames."""
    return _rain_over


@pytest.fixture(scope="session")
def psnr() -> Callable[..., float]:
    """`psnr(a, b)`: in dB."""
    return _psnr


@pytest.fixture(scope="session")
def clean() -> Image:
    return _scene(72, 128)


@pytest.fixture(scope="session")
def frames(clean: Image) -> list[Image]:
    return _rain_over(clean, 100)
