"""Pairs as samples: cuts, flips, what of the physics is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from derain.configs.single_image import PairsConfig
from derain.configs.training import DataConfig, TrainingConfig
from derain.models import DerainError
from derain.stages.data.batch import UNKNOWN
from derain.stages.data.image_pairs import ImagePair
from derain.stages.data.paired_samples import PairedImages, paired_data, without_physics
from derain.stages.training.loop import train

Preset = Callable[..., TrainingConfig]
pytestmark = pytest.mark.usefixtures("own_home")
TINY = {"channels": 6, "depth": 4, "stages": 2}  # of rescan


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Three pairs of 80x72 images; rain brightens the red channel by 40."""
    rng = np.random.default_rng(0)
    for name in ("rain", "norain"):
        (tmp_path / "set" / name).mkdir(parents=True)
    for i in range(3):
        clean = rng.integers(0, 200, (72, 80, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"set/norain/norain-{i}.png"), clean[..., ::-1])
        rainy = clean + np.array([40, 0, 0], np.uint8)
        cv2.imwrite(str(tmp_path / f"set/rain/rain-{i}.png"), rainy[..., ::-1])
    return tmp_path / "set"


def test_pairs_from_disk_train_and_are_watched(
    folders: Path, small_preset: Preset, tmp_path: Path
) -> None:
    pairs = PairsConfig(folder=str(folders), layout="folders", validation=str(folders))
    preset = small_preset("rescan", TINY, pairs=pairs, steps=2)
    train(preset, tmp_path / "run", device="cpu")
    watched = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[-1])
    # A third of the values is off by 40 grey levels.
    assert watched["pairs input"] == pytest.approx(-10 * np.log10((40 / 255) ** 2 / 3), abs=0.01)
    assert np.isfinite(watched["pairs"])


@pytest.mark.parametrize("distort", [False, True])
def test_both_images_of_a_pair_are_cut_alike(
    folders: Path, small_preset: Preset, tmp_path: Path, distort: bool
) -> None:
    pairs = PairsConfig(folder=str(folders), layout="folders", distort=distort)
    data, validation_clips = paired_data(small_preset("rescan", TINY, pairs=pairs), tmp_path, print)
    assert not validation_clips
    parts = [data[i] for i in range(6)]
    for part in parts:
        assert part.rainy.shape == (1, 3, 32, 32)
        shift = (part.rainy - part.clean).mean((0, 2, 3))
        expected = torch.tensor([40 / 255, 0, 0])
        torch.testing.assert_close(shift, expected, atol=2 / 255 if distort else 1e-6, rtol=0)
    assert not torch.equal(parts[0].rainy, parts[1].rainy)
    assert torch.equal(data[3].rainy, parts[3].rainy)


def test_every_place_of_an_image_is_drawn_and_small_ones_are_mirrored(tmp_path: Path) -> None:
    image = np.zeros((34, 33, 3), np.uint8)
    image[-1, -1] = 255
    cv2.imwrite(str(tmp_path / "a.png"), image)
    cv2.imwrite(str(tmp_path / "small.png"), np.full((9, 20, 3), 77, np.uint8))
    data = DataConfig(frames=1, crop=32, batch=1)
    one = [ImagePair("a", tmp_path / "a.png", tmp_path / "a.png")]
    samples = [PairedImages(one, data, 0, 99)[i].rainy for i in range(40)]
    assert any(float(sample.max()) == 1 for sample in samples)
    small = [ImagePair("s", tmp_path / "small.png", tmp_path / "small.png")]
    sample = PairedImages(small, data, 0, 99)[0].rainy
    torch.testing.assert_close(sample, torch.full((1, 3, 32, 32), 77 / 255))


def test_physics_of_pairs_is_what_can_be_known() -> None:
    rainy, clean = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    batch = without_physics(rainy, clean)
    torch.testing.assert_close(batch.streaks, rainy - clean)
    assert float(batch.transmission.min()) == 1
    assert float(batch.occlusion.max()) == UNKNOWN


def test_wrong_choices_are_sentences(folders: Path, small_preset: Preset, tmp_path: Path) -> None:
    def choose(folder: Path, layout: str) -> TrainingConfig:
        return small_preset("rescan", TINY, pairs=PairsConfig(folder=str(folder), layout=layout))

    with pytest.raises(DerainError, match="There is no layout 'pears'"):
        paired_data(choose(folders, "pears"), tmp_path, print)
    with pytest.raises(DerainError, match="without truth"):
        paired_data(choose(folders / "rain", "alone"), tmp_path, print)
    swift = choose(folders, "folders").model_copy(update={"single_image": None, "model": "swift"})
    with pytest.raises(DerainError, match="'swift' learns from clips"):
        paired_data(swift, tmp_path, print)
