"""Views of a camera that moves, and flow that knows what is around a crop."""

import cv2
import numpy as np
import pytest
import torch

from derain.configs.training import DataConfig
from derain.models.ops.image_arrays import to_tensor
from derain.models.ops.optical_flow import dis_flow, warp
from derain.stages.data.batch import Batch, cropped, frozen, turned
from derain.stages.data.camera_motion import (
    camera_path,
    measured_path,
    moving_view,
    panned_still,
    standing_view,
)


def texture(height: int, width: int) -> np.ndarray:
    """(H, W, 3) uint8: smooth noise."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)


def pan(frames: int, speed: int, height: int = 128, width: int = 192) -> np.ndarray:
    """(T, H, W, 3): a texture that moves to the left."""
    wide = texture(height, width + speed * frames)
    return np.stack([wide[:, speed * k : speed * k + width] for k in range(frames)])


def sample(clip: torch.Tensor) -> Batch:
    one = torch.ones_like(clip[:, :1])
    return Batch(clip, clip, one, clip[..., :1, :1], clip, one, torch.ones(1, 1, 1), one)


@pytest.mark.parametrize("place", [(0, 0), (20, 60), (56, 120)])
def test_a_view_holds_its_crop_and_what_there_is_around_it(place: tuple[int, int]) -> None:
    clip = pan(3, 0)
    view = standing_view(3, (128, 192), 64, place, 64, 16)
    cut, (y, x) = view.cut(clip), view.corner
    assert np.array_equal(
        cut[:, y : y + 64, x : x + 64],
        clip[:, place[0] : place[0] + 64, place[1] : place[1] + 64],
    )
    assert view.corner == (min(16, place[0]), min(16, place[1]))
    assert all(n % 2 == 0 for n in view.size)


def test_a_moving_view_stays_in_the_image() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        view = moving_view(standing_view(11, (90, 160), 60, (10, 40), 64, 8), (90, 160), rng)
        assert view.tops.min() >= 0
        assert view.lefts.min() >= 0
        assert view.tops.max() + view.source[0] <= 90
        assert view.lefts.max() + view.source[1] <= 160
        assert view.cut(np.zeros((11, 90, 160), np.uint8)).shape[1:] == view.size


def test_some_cameras_pan_by_tens_of_pixels() -> None:
    rng = np.random.default_rng(0)
    steps = [np.abs(np.diff(camera_path(11, rng), axis=0)).mean(0).max() for _ in range(100)]
    assert sum(step > 15 for step in steps) > 15
    assert sum(step < 3 for step in steps) > 20


def test_a_still_is_panned_and_the_pan_measured() -> None:
    still = texture(200, 260)
    assert panned_still(still, 5, 64, np.random.default_rng(1)).shape == (5, 64, 64, 3)
    found = measured_path(pan(4, 8))
    np.testing.assert_allclose(found[:, 0], [0, -8, -16, -24], atol=1)
    np.testing.assert_allclose(found[:, 1], 0, atol=1)


def test_flow_of_a_crop_is_that_of_the_frame_around_it() -> None:
    clip = to_tensor(pan(3, 6))
    batch = cropped(sample(clip), (32, 64), 64, flows=True)
    whole, _ = dis_flow(clip[:1], clip[1:2])
    assert torch.equal(batch.flows[0, :2], whole[0, :, 16:48, 32:64])
    assert batch.rainy.shape == (3, 3, 64, 64)


@pytest.mark.parametrize("seed", range(4))
def test_flow_turns_with_its_frames(seed: int) -> None:
    clip = to_tensor(pan(2, 6))
    batch = turned(
        cropped(sample(clip), (32, 64), 64, flows=True), 1.0, np.random.default_rng(seed)
    )
    back = warp(batch.rainy[1:], batch.flows[:1, :2], batch.rainy[:1])
    inside = (slice(None), slice(None), slice(12, -12), slice(12, -12))
    assert float((back - batch.rainy[:1])[inside].abs().mean()) < 0.01
    assert float((batch.rainy[1:] - batch.rainy[:1])[inside].abs().mean()) > 0.03


def test_a_frozen_sample_shows_one_frame() -> None:
    batch = frozen(sample(to_tensor(pan(4, 6))), 2)
    assert all(torch.equal(frame, batch.rainy[0]) for frame in batch.rainy)
    assert torch.equal(batch.rainy[0], to_tensor(pan(4, 6))[2])


def test_flow_margins_are_even() -> None:
    with pytest.raises(ValueError, match="multiple of 2"):
        DataConfig(flow_margin=7)
