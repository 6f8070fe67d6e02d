"""What validation measures and leaves to look at."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from derain.configs.training import TrainingConfig
from derain.models import create_model
from derain.stages.data.validation_clips import make_validation_clips
from derain.stages.training.loop import train
from derain.stages.training.validation import validate_model

pytestmark = pytest.mark.usefixtures("own_home")


@pytest.mark.parametrize("size", [(180, 318), (300, 500), (40, 33)])
def test_clips_of_any_size_can_be_watched(size: tuple[int, int], tmp_path: Path) -> None:
    np.save(tmp_path / "clip.npy", np.zeros((3, *size, 3), np.uint8))
    network = create_model("swift", widths=(8, 8, 8), blocks=(1, 1), hidden=4)
    validation_clips = make_validation_clips([tmp_path / "clip.npy"])
    figures, _ = validate_model(network, validation_clips[:1], torch.device("cpu"), torch.float32)
    assert figures


def test_validation_leaves_figures_and_images(config: TrainingConfig, tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    rng = np.random.default_rng(1)
    (tmp_path / "val" / "still").mkdir(parents=True)
    image = cv2.GaussianBlur(rng.integers(0, 256, (64, 96, 3), np.uint8), (0, 0), 2)
    for t in range(12):
        cv2.imwrite(str(tmp_path / "val" / "still" / f"{t:02d}.png"), image)
    data = config.data.model_copy(update={"validation": str(tmp_path / "val")})
    train(config.model_copy(update={"data": data, "steps": 1}), tmp_path / "run", device="cpu")
    last = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[-1])
    assert {"light", "heavy", "haze", "clean", "heavy input", "heavy stage 1"} <= set(last)
    board = events.EventAccumulator(str(tmp_path / "run")).Reload()
    (image,) = board.Images("heavy: rainy, output, clean")
    assert "heavy: recovered, streaks, occlusion, transmission" in board.Tags()["images"]
    assert (image.width, image.height) == (3 * 96, 64)
    assert {"loss", "heavy"} <= set(board.Tags()["scalars"])
