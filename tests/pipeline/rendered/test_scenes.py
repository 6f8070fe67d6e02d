"""Rendered scenes: alike at every length."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from derain.pipeline.rendered.scenes import SCENES, demo_frames, render_scene


def test_the_scene_is_the_same_at_every_length() -> None:
    short, long = (list(demo_frames(48, 64, count)) for count in (3, 5))
    np.testing.assert_array_equal(np.stack(short), np.stack(long[:3]))
    assert np.abs(long[4] - long[0]).mean() > 0.005


@pytest.mark.parametrize("name", SCENES)
def test_scenes_move_and_have_a_focus(name: str) -> None:
    scene = render_scene(name, frames=5, size=(160, 96))
    assert scene.clean.shape == (5, 3, 96, 160)
    assert 0 <= scene.clean.min() < scene.clean.max() <= 1
    assert scene.focus.dtype == torch.bool
    assert 0.005 < scene.focus.float().mean() < 0.99
    assert (scene.clean[4] - scene.clean[0]).abs().mean() > 0.005
    again = render_scene(name, frames=5, size=(160, 96))
    torch.testing.assert_close(again.clean, scene.clean, atol=0, rtol=0)


def test_captions_stand_still_while_the_scene_moves() -> None:
    scene = render_scene("captions", frames=4, size=(320, 180))
    still = scene.focus.all(0)[0]
    letters = still & (scene.clean[0].amin(0) > 0.97)
    change = (scene.clean[3] - scene.clean[0]).abs().amax(0)
    assert letters.sum() > 50
    assert change[letters].mean() < 0.1 * change[~still].mean() + 0.02
