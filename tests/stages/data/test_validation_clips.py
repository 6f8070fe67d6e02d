"""What a run is watched on: the middle of clips, every level, fixed seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from derain.models.errors import DerainError
from derain.stages.data.validation_clips import (
    FRAMES,
    LEVELS,
    make_validation_clips,
    middle,
    stills,
    to_clip,
)


@pytest.fixture
def decoded(tmp_path: Path) -> Path:
    path = tmp_path / "a.npy"
    rng = np.random.default_rng(0)
    np.save(path, rng.integers(40, 200, (FRAMES + 3, 40, 70, 3), np.uint8))
    return path


def test_sides_are_cut_around_the_middle_to_what_networks_want() -> None:
    clip = np.arange(40 * 70).reshape(1, 40, 70, 1).repeat(3, 3).astype(np.uint8)
    assert middle(clip).shape == (1, 32, 64, 3)
    np.testing.assert_array_equal(middle(clip), clip[:, 4:36, 3:67])
    assert middle(np.zeros((1, 300, 900, 3), np.uint8)).shape == (1, 256, 320, 3)
    with pytest.raises(DerainError, match="at least 32x32"):
        middle(np.zeros((1, 31, 70, 3), np.uint8))


def test_every_level_falls_on_every_clip_and_always_alike(decoded: Path) -> None:
    clips, again = (make_validation_clips([decoded]) for _ in range(2))
    assert [clip.level for clip in clips] == list(LEVELS)
    for one, two in zip(clips, again, strict=True):
        assert one.rainy.shape == one.clean.shape == (1, FRAMES, 3, 32, 64)
        assert torch.equal(one.rainy, two.rainy)
        assert torch.allclose(one.rainy, one.clean) == (one.level == "clean")


def test_stills_are_the_first_frames(decoded: Path) -> None:
    clips = make_validation_clips([decoded])
    for clip, still in zip(clips, stills(clips), strict=True):
        assert torch.equal(still.rainy, clip.rainy[:, :1])
        assert still.level == clip.level


def test_decoded_frames_become_a_clip() -> None:
    frames = np.full((2, 32, 32, 3), 51, np.uint8)
    clip = to_clip(frames)
    assert clip.shape == (1, 2, 3, 32, 32)
    torch.testing.assert_close(clip, torch.full_like(clip, 0.2))
