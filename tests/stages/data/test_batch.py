"""Whole samples: frozen, cropped with their flows, turned as a camera is."""

from __future__ import annotations

import numpy as np
import torch

from derain.stages.data.batch import IMAGES, Batch, cropped, frozen, turned
from derain.stages.data.paired_samples import without_physics


def sample(frames: int = 4, size: int = 32) -> Batch:
    """A texture that moves to the right, two pixels a frame, and rain on it."""
    coarse = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    wide = torch.nn.functional.interpolate(coarse, (size, size + 2 * frames), mode="bicubic")
    clip = torch.stack([wide[0, :, :, 2 * (frames - t) :][..., :size] for t in range(frames)])
    clip = clip.clamp(0, 0.9)
    return without_physics(clip + 0.1, clip)


def test_a_frozen_sample_shows_one_frame_all_the_time() -> None:
    given = sample()
    still = frozen(given, 2)
    for name in IMAGES:
        before, after = getattr(given, name), getattr(still, name)
        assert after.shape == before.shape
        if before.shape[0] > 1:
            assert all(torch.equal(frame, before[2]) for frame in after)


def test_all_images_are_cut_alike() -> None:
    given = sample()
    part = cropped(given, (4, 8), 16, flows=False)
    assert torch.equal(part.rainy, given.rainy[..., 4:20, 8:24])
    assert torch.equal(part.streaks, given.streaks[..., 4:20, 8:24])
    assert part.rainy.is_contiguous() and part.flows.numel() == 0


def test_flows_are_those_of_the_whole_view() -> None:
    part = cropped(sample(5, 64), (16, 16), 32, flows=True)
    assert part.flows.shape == (4, 4, 16, 16)
    x1, y1, x2, y2 = part.flows.unbind(1)
    scale = float(x1.median())
    assert scale * float(x2.median()) < 0  # there and back
    assert abs(float(y1.median())) < 0.2 * abs(scale) and abs(float(y2.median())) < 0.2 * abs(scale)


def test_turning_carries_the_flow_along() -> None:
    given = cropped(sample(5, 64), (16, 16), 32, flows=True)
    rng = np.random.default_rng(0)
    assert turned(given, 0.0, rng) is given
    for _ in range(4):  # both ways
        after = turned(given, 1.0, rng)
        assert after.rainy.shape == given.rainy.shape
        values = (after.rainy.sort(-1).values.sum(), given.rainy.sum())
        torch.testing.assert_close(*values, rtol=1e-4, atol=0)
        right, down, _, _ = after.flows.unbind(1)
        assert abs(float(down.median())) > 4 * abs(float(right.median()))  # it moves up or down
