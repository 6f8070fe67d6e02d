"""Optical flow: what it must hold on to in whole frames."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from derain.models.ops.optical_flow import _dis, _grey, dis_flow, warp


def street_behind_twigs(shift: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """A frame (1, 3, H, W) of a street that stands still, and where dark twigs are (H, W).

    The twigs, five pixels thick, have moved to the right by `shift` pixels.
    """
    height, width = size
    rng = np.random.default_rng(2)
    street = cv2.GaussianBlur(rng.random((height, width, 3), np.float32), (0, 0), 3)
    street = 0.5 + 0.08 * (street - street.mean()) / street.std()
    cover = np.zeros(size, np.float32)
    for _ in range(height * width // 16000):
        x, y = rng.uniform(0, width) + shift, rng.uniform(0.1, 0.9) * height
        start = (round(16 * x), round(16 * y))
        end = (round(16 * (x + rng.uniform(-60, 60))), round(16 * (y - 90)))
        cv2.line(cover, start, end, 1.0, 5, cv2.LINE_AA, shift=4)
    cover = cover[..., None]
    frame = street * (1 - cover) + 0.15 * cover
    return torch.from_numpy(frame).permute(2, 0, 1)[None], torch.from_numpy(cover[..., 0] > 0.5)


@pytest.mark.parametrize("size", [(128, 128), (360, 640), (1080, 1920)])
def test_thin_things_in_front_are_aligned_by_themselves_in_frames_of_any_size(
    size: tuple[int, int],
) -> None:
    (frame, twigs), (following, _) = (street_behind_twigs(shift, size) for shift in (0, 5))
    there, _ = dis_flow(frame, following)
    aligned = warp(following, there, frame)
    missed = (following - frame)[0, :, twigs].abs().mean()
    assert (aligned - frame)[0, :, twigs].abs().mean() < 0.17 * missed


def test_flow_both_ways_is_that_of_each_way_to_the_last_bit() -> None:
    (a, _), (b, _) = (street_behind_twigs(shift, (96, 128)) for shift in (0, 4))
    there, back = dis_flow(a, b)
    for found, (one, other) in ((there, (a, b)), (back, (b, a))):
        alone = torch.from_numpy(_dis(_grey(one), _grey(other))[0]).permute(2, 0, 1)
        assert torch.equal(found[0], alone)
