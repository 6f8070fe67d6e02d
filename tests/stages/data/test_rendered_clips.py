"""Samples of rendered rain: their files, their seeds, dry ones."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from derain.configs.training import TrainingConfig
from derain.stages.data.rendered_clips import RainyClips, read_clip

pytestmark = pytest.mark.usefixtures("own_home")


def test_frame_folders_are_read_in_rgb(clips: Path) -> None:
    frames = read_clip(clips / "walk")
    assert frames.shape == (14, 100, 150, 3)
    blue_first = cv2.imread(str(clips / "walk" / "00.png"))
    np.testing.assert_array_equal(frames[0], blue_first[..., ::-1])


def test_samples_depend_on_seed_and_index_alone(files: list[Path], config: TrainingConfig) -> None:
    sets = [RainyClips(files, config.data, seed, 10) for seed in (1, 1, 2)]
    for a, b, c in zip(*([data[i] for i in range(4)] for data in sets), strict=True):
        assert torch.equal(a.rainy, b.rainy)
        assert not torch.equal(a.rainy, c.rainy)
        assert a.rainy.shape == a.clean.shape == (4, 3, 48, 48)
        assert a.transmission.shape == a.occlusion.shape == (4, 1, 48, 48)
        assert a.airlight.shape == (4, 3, 1, 1)


def test_clean_samples_have_no_rain(files: list[Path], config: TrainingConfig) -> None:
    data = config.data.model_copy(update={"clean_prob": 1.0, "restore_prob": 0.0, "jpeg_prob": 0.0})
    for i in range(3):
        sample = RainyClips(files, data, 0, 10)[i]
        torch.testing.assert_close(sample.rainy, sample.clean)
