"""What a run learns from and by which losses, as its preset says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from derain.configs.single_image import SingleImageConfig
from derain.configs.training import (
    RefinementConfig,
    TrainingConfig,
)
from derain.models.cache import cache_folder
from derain.models.errors import UsageError
from derain.models.networks.per_frame import PerFrame
from derain.stages.data.rendered_clips import RainyClips
from derain.stages.training import sources
from derain.stages.training.sources import make_data, make_objective, real_example

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("own_home")


def changed(config: TrainingConfig, **data: Any) -> TrainingConfig:
    return config.model_copy(update={"data": config.data.model_copy(update=data)})


def test_losses_are_chosen_by_what_the_preset_has(config: TrainingConfig) -> None:
    video = make_objective(config, CPU)
    refined = make_objective(config.model_copy(update={"refinement": RefinementConfig()}), CPU)
    image = {"model": "rescan", "single_image": SingleImageConfig(loss="rescan")}
    single = make_objective(config.model_copy(update=image), CPU)
    assert [each.critic is not None for each in (video, refined, single)] == [False, True, False]
    network = nn.Identity()
    assert video.as_video(network) is network and isinstance(single.as_video(network), PerFrame)


def test_without_clips_the_option_is_named() -> None:
    with pytest.raises(UsageError, match=r"name their folder, --set data\.clips=CLIPS"):
        make_data(TrainingConfig(model="swift"), print)


def test_clips_are_rained_on_as_often_as_the_run_has_samples(
    config: TrainingConfig, clips: Path
) -> None:
    data, watched = make_data(config, print)
    assert isinstance(data, RainyClips)
    assert len(data) == config.steps * config.data.batch == 12
    assert data[0].rainy.shape == (config.data.frames, 3, 48, 48) and watched == []
    assert len(list(cache_folder("clips").iterdir())) == 1
    _, watched = make_data(changed(config, validation=str(clips)), print)
    assert watched and {each.rainy.shape[1] for each in watched} == {sources.FRAMES}


def test_clips_that_nobody_used_leave_the_cache_and_are_told(
    config: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    make_data(config, said.append)
    assert said == []
    monkeypatch.setattr(sources, "LIMIT", 0)
    monkeypatch.setattr(sources, "RECENT", 0.0)
    make_data(config, said.append)
    assert len(said) == 1 and said[0].startswith("1 decoded clips unused for days left ")


def test_the_first_clip_of_real_rain_is_the_example(
    config: TrainingConfig, clips: Path, make_walk: Callable[..., Path], tmp_path: Path
) -> None:
    assert real_example(config) is None
    folder = make_walk(tmp_path / "real", sources.FRAMES + 3)
    example = real_example(changed(config, real=str(folder)))
    assert example is not None
    assert example.shape == (1, sources.FRAMES, 3, 96, 128)  # of 100x150, what networks take
    assert float(example.max()) <= 1 and np.isfinite(example.numpy()).all()
