"""Validation pairs under harder conditions."""

import pytest
import torch

from derain.stages.data.rain import RainSettings, StreakLayer
from derain.stages.data.validation_pairs import CONDITIONS, darkened, panned, under_condition

LAYER = StreakLayer(0.05, 12, 1.0, 0.6, 0.0, 1.5, 0.0)


def _clip(frames: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    scene = torch.rand((3, 8, 16), generator=generator)
    return scene.repeat_interleave(8, 1).repeat_interleave(8, 2)[None].repeat(frames, 1, 1, 1)


def test_a_pan_moves_the_whole_frame() -> None:
    clip = panned(_clip())
    assert clip.shape == (6, 3, 64, 64)
    assert torch.equal(clip[1, :, :, :32], clip[0, :, :, 16:48]) or torch.equal(
        clip[0, :, :, :32], clip[1, :, :, 16:48]
    )


def test_night_is_dark_but_for_lamps() -> None:
    assert darkened(torch.tensor(0.5)) < 0.15
    assert darkened(torch.tensor(1.0)) > 0.6


@pytest.mark.parametrize("name", list(CONDITIONS))
def test_rain_falls_and_the_truth_has_none(name: str) -> None:
    clip = _clip()
    rainy, clean = under_condition(clip, RainSettings(layers=(LAYER,)), 3, name)
    assert rainy.shape == clean.shape
    assert (rainy - clean).amax() > 0.1
    assert torch.equal(rainy, under_condition(clip, RainSettings(layers=(LAYER,)), 3, name)[0])
    if CONDITIONS[name].codec is not None:
        assert not torch.equal(clean, clip)
        assert (clean - clip).abs().mean() < 0.05
