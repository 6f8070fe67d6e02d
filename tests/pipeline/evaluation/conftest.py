"""Clips and pairs that evaluation is measured on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from derain.configs.validation import ValidationSet, write_validation
from derain.pipeline.evaluation import model_runs
from derain.pipeline.rendered.scenes import demo_frames
from derain.pipeline.video import Encoding, write_rgb
from derain.stages.data.validation_pairs import calibrate


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of six frames, 96x64, and pairs calibrated on them."""
    folder = tmp_path_factory.mktemp("clips")
    frames = [np.rint(f * 255).astype(np.uint8) for f in demo_frames(64, 96, 6)]
    write_rgb(folder / "a.mp4", frames, encoding=Encoding(crf=4))
    write_rgb(folder / "b.mp4", frames[::-1], encoding=Encoding(crf=4))
    layer = {"coverage": 0.2, "length": 8, "width": 1.0, "brightness": 0.4}
    layer |= {"opaque": 0.2, "fall": 1.5, "blur": 0.0}
    entry = {"rain": "test", "seed": 5}
    pairs = ValidationSet.model_validate(
        {
            "levels": {
                "light": {"psnr": 28, "tolerance": 1},
                "heavy": {"psnr": 22, "tolerance": 1},
            },
            "rains": {"test": {"layers": [layer]}},
            "clips": [
                {"file": "a.mp4", "camera": "static", "pairs": {"light": entry}},
                {"file": "b.mp4", "camera": "moving", "pairs": {"light": entry, "heavy": entry}},
            ],
        }
    )
    write_validation(calibrate(pairs, folder, model_runs.read_clip), folder / "pairs.yaml")
    return folder


@pytest.fixture
def raining_film() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """`raining_film(frames)`: a scene that the camera pans over, with streaks and without."""

    def make(frames: int = 9) -> tuple[np.ndarray, np.ndarray]:
        """(T, H, W, 3) uint8 each."""
        rng = np.random.default_rng(4)
        wide = cv2.GaussianBlur(rng.integers(0, 256, (96, 200, 3)).astype(np.float32), (0, 0), 5)
        wide = cv2.normalize(wide, None, 40, 160, cv2.NORM_MINMAX).astype(np.uint8)
        clean = np.stack([wide[:, 2 * k : 2 * k + 160] for k in range(frames)])
        rainy = clean.copy()
        for frame in rainy:
            for _ in range(10):
                y, x = rng.integers(0, 80), rng.integers(5, 155)
                frame[y : y + 14, x : x + 1] += 50
        return rainy, clean

    return make
