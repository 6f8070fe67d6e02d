"""A look at a run before it is started: figures, a sheet, nothing left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from derain.configs.training import DataConfig, TrainingConfig
from derain.models.errors import DerainError
from derain.stages.data.batch import Batch
from derain.stages.data.rendered_clips import RainyClips
from derain.stages.training.dry_run import (
    STEPS,
    augmentations,
    look_at_data,
    shapes,
    statistics,
    try_run,
)
from derain.stages.training.sources import make_data

pytestmark = pytest.mark.usefixtures("own_home")
OFF = {name: 0.0 for name in DataConfig.model_fields if name.endswith("_prob")}


def changed(config: TrainingConfig, **data: Any) -> TrainingConfig:
    return config.model_copy(update={"data": config.data.model_copy(update=data)})


def test_a_few_steps_tell_what_all_will_take(config: TrainingConfig, tmp_path: Path) -> None:
    said: list[str] = []
    small = changed(config, frames=3, crop=32, thumbnails=1)
    long = small.model_copy(update={"steps": 36_000})
    sheet = tmp_path / "sheet.png"
    try_run(long, sheet, "cpu", said.append)
    network, batch, memory, time, hours, first = said
    assert network.startswith("network: swift, ") and "weights learn" in network
    assert batch == "batch: rainy 2x3x3x32x32, thumbnails 2x1x3x128x128"
    assert memory.endswith("on cpu") and "waiting for data" in time
    step = float(time.split()[1])
    assert hours.startswith("36000 steps: about ")
    assert float(hours.split()[3]) == pytest.approx(10 * step, abs=0.1 + 0.05 * 10)
    assert first == f"first batch: {sheet}"
    assert cv2.imread(str(sheet)).shape[0] == config.data.batch * 178
    assert [path.name for path in tmp_path.glob("*.*")] == ["sheet.png"]
    assert STEPS < 10


def test_samples_are_drawn_and_measured(config: TrainingConfig, tmp_path: Path) -> None:
    said: list[str] = []
    look_at_data(changed(config, **OFF), tmp_path / "a.png", 2, said.append)
    assert [line.split(":")[0] for line in said] == ["0", "1", "2 samples"]
    assert all("rain on" in line and "motion" in line for line in said[:2])
    with pytest.raises(DerainError, match="12 samples; ask for no more with --count"):
        look_at_data(config, tmp_path / "b.png", 13, said.append)


def test_an_augmentation_is_shown_alone_and_without(config: TrainingConfig) -> None:
    """Whatever the preset's own share of it; those that are off have no row."""
    data, _ = make_data(changed(config, **OFF | {"haze_prob": 0.25, "noise_prob": 1.0}), print)
    assert isinstance(data, RainyClips)
    rows = {row[1][0]: row for row in augmentations(data)}
    assert list(rows) == ["with, 25 %", "with, 100 %"]
    (name, without), (_, hazy), (_, clean), (_, truth) = rows["with, 25 %"]
    assert name == "haze: without"
    assert not torch.equal(without, hazy) and torch.equal(clean, truth)


def batch(clean: torch.Tensor, rainy: torch.Tensor) -> Batch:
    flat = torch.zeros_like(clean[:, :1])
    return Batch(
        rainy=rainy,
        clean=clean,
        transmission=flat + 0.75,
        airlight=torch.zeros(len(clean), 3, 1, 1),
        streaks=rainy - clean,
        occlusion=flat,
        boldness=torch.full((1, 1, 1), 0.5),
        weight=flat + 1,
    )


def test_words_about_a_sample() -> None:
    clean = torch.full((1, 3, 16, 16), 0.5)
    rainy = clean.clone()
    rainy[..., :4] += 0.2
    text = statistics(batch(clean, rainy))
    assert text == "brightness 0.50 ± 0.00, rain on 25 % of pixels (20.0 dB), haze 0.25"
    assert "motion 0.0 pixels" in statistics(
        batch(clean.repeat(2, 1, 1, 1), rainy.repeat(2, 1, 1, 1))
    )
    assert shapes(batch(clean, rainy)) == "rainy 1x3x16x16"
