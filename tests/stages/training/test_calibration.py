"""Calibration: a weight file gets ranges and keeps all else."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from derain.models import DerainError, create_model, load_model
from derain.models.networks.swift import Swift
from derain.models.runtime.int8 import ranges_of
from derain.models.weights_io import read_weights, save_model
from derain.stages.training.calibration import calibrate_file


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two folders of six frames."""
    for number in range(2):
        folder = tmp_path / "clips" / f"clip{number}"
        folder.mkdir(parents=True)
        noise = np.random.default_rng(number).integers(0, 255, (6, 8, 3), np.uint8)
        for frame in range(6):
            image = np.roll(cv2.resize(noise, (96, 64)), 2 * frame, 1)
            cv2.imwrite(str(folder / f"{frame}.png"), image)
    return tmp_path / "clips"


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_weights_get_ranges_and_stay_what_they_are(
    tmp_path: Path, clips: Path, dtype: torch.dtype
) -> None:
    weights, target = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    small = create_model("swift", widths=(8, 8, 16), blocks=(1, 1), hidden=8)
    save_model(small, weights, dtype=dtype, note={"steps": 7})
    told: list[str] = []
    calibrate_file(weights, clips, target, told.append)
    network = load_model(target)
    assert isinstance(network, Swift) and ranges_of(network) is not None
    assert network.description.note["steps"] == 7
    before, after = read_weights(weights)[0], read_weights(target)[0]
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert told == ["calibrating on clip0", "calibrating on clip1"]
    calibrate_file(weights, clips, weights)
    assert weights.read_bytes() == target.read_bytes()


def test_other_networks_and_empty_folders_are_a_sentence(tmp_path: Path, clips: Path) -> None:
    weights = tmp_path / "a.safetensors"
    save_model(create_model("spanet"), weights)
    with pytest.raises(DerainError, match="Only swift"):
        calibrate_file(weights, clips, tmp_path / "b.safetensors")
    save_model(create_model("swift"), weights)
    with pytest.raises(DerainError, match="no folder"):
        calibrate_file(weights, tmp_path / "nowhere", tmp_path / "b.safetensors")
