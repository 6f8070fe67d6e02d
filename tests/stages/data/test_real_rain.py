"""Real rain in a batch of stage 2: as it is, in the share asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from derain.configs.training import TrainingConfig
from derain.models import DerainError
from derain.stages.data.batch import Batch
from derain.stages.data.paired_samples import without_physics
from derain.stages.data.real_rain import (
    RealRain,
    RefinementSamples,
    real_clips,
    refinement_samples,
)
from derain.stages.data.rendered_clips import cached_clip, find_clips

pytestmark = pytest.mark.usefixtures("own_home")


def test_real_rain_comes_as_it_is(
    clean_and_real: Path, refining: TrainingConfig, tmp_path: Path
) -> None:
    files = [cached_clip(p, tmp_path) for p in find_clips(clean_and_real / "real")]
    one, again = (RealRain(files, refining.data, 1, 4)[2] for _ in range(2))
    assert one.rainy.shape == (4, 3, 48, 48)
    assert torch.equal(one.rainy, again.rainy)
    assert torch.equal(one.rainy, one.clean)
    video = refining.data.model_copy(update={"real": str(clean_and_real / "nothing")})
    with pytest.raises(DerainError, match=r"set data\.real to a rainy video or a folder"):
        refinement_samples(RealRain(files, video, 1, 4), 1, tmp_path)


def test_images_that_are_no_frames_are_named_and_left_out(
    make_walk: Callable[..., Path], tmp_path: Path
) -> None:
    place = make_walk(tmp_path / "rain", 3)
    (place / "stills").mkdir()
    for size in (32, 48):
        cv2.imwrite(str(place / "stills" / f"{size}.png"), np.zeros((size, size, 3), np.uint8))
    said: list[str] = []
    (found,) = real_clips(place, tmp_path / "cache", said.append)
    assert found.name.startswith("walk-")
    assert said == [
        f"{place / 'stills'} is left out of the real rain: its images are no frames of one size."
    ]
    assert real_clips(place / "walk", tmp_path / "cache", said.append) == [found]
    with pytest.raises(DerainError, match="no rainy clip"):
        real_clips(place / "stills", tmp_path / "cache")


@pytest.mark.parametrize("prob", [1.0, 0.5, 0.25, 0.1])
def test_real_rain_is_a_share_of_all_samples(prob: float, refining: TrainingConfig) -> None:
    """Whatever the batch: it is counted over the samples of a run."""
    data = refining.data.model_copy(update={"real_prob": prob})

    class Images:
        config, length = data, 40

        def __getitem__(self, index: int) -> Batch:
            return without_physics(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))

    samples = RefinementSamples(Images(), Images(), 1)
    assert sum(bool(samples[i].has_real) for i in range(40)) == round(40 * prob)
