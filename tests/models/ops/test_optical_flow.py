"""Optical flow: what it must hold on to in whole frames."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from derain.models.ops.optical_flow import (
    _dis,
    _grey,
    _warp_opencv,
    _warp_torch,
    compose_flows,
    dis_flow,
    warp,
)


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


def scene(height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    frame = torch.zeros(1, 3, height, width)
    for octave in (8, 16, 32):
        noise = torch.rand(1, 3, octave, octave * 2, generator=generator)
        frame += torch.nn.functional.interpolate(
            noise, (height, width), mode="bicubic", align_corners=False
        )
    return (frame / 3).clamp(0, 1)


def drifting(frames: int, step: int = 4) -> list[Tensor]:
    wide = scene(96, 160 + step * frames)
    return [wide[..., step * t : step * t + 160] for t in range(frames)]


def test_flow_finds_a_shift_and_warp_undoes_it() -> None:
    a, b = drifting(2)
    there, back = dis_flow(a, b)
    middle = there[..., 10:-10, 10:-10]
    # Half size: a shift of 4 pixels is 2 of the flow's.
    assert abs(float(middle[:, 0].median()) + 2) < 0.1
    assert abs(float(back[..., 10:-10, 10:-10][:, 0].median()) - 2) < 0.1
    moved = warp(b, there, a)
    error = (moved - a)[..., 10:-10, 10:-10].abs().mean()
    assert float(error) < 0.2 * float((b - a)[..., 10:-10, 10:-10].abs().mean())


def test_where_a_neighbour_has_nothing_the_fallback_stands() -> None:
    image, fallback = torch.zeros(1, 3, 40, 60), torch.ones(1, 3, 40, 60)
    flow = torch.zeros(1, 2, 20, 30)
    flow[:, 0] = 10  # 20 pixels to the right
    for fetched in (_warp_opencv(image, flow, fallback), _warp_torch(image, flow, fallback)):
        assert float(fetched[..., 41:].min()) == 1
        assert float(fetched[..., :39].max()) == 0


def test_both_ways_of_warping_agree() -> None:
    image = scene(64, 96)
    generator = torch.Generator().manual_seed(1)
    flow = torch.nn.functional.interpolate(
        torch.randn(1, 2, 4, 6, generator=generator) * 3, (32, 48), mode="bicubic"
    )
    fallback = 1 - image
    a, b = _warp_opencv(image, flow, fallback), _warp_torch(image, flow, fallback)
    assert float((a - b).abs().mean()) < 2e-3  # borders, where both blend with the fallback, too
    levels = (255 * image).round().byte()
    in_bytes = _warp_opencv(levels, flow, levels)
    of_floats = _warp_opencv(levels / 255, flow, levels / 255)
    assert in_bytes.dtype == torch.uint8
    # Half a level, but for pixels between the border and what is outside: bytes do not blend those.
    error = (in_bytes - 255 * of_floats).abs()
    assert float(error.median()) < 0.5 and float((error > 1).float().mean()) < 0.08
    outside = torch.full((1, 2, 32, 48), 1000.0)
    for warped in (_warp_opencv, _warp_torch):
        assert torch.equal(warped(image, outside, fallback), fallback)


def test_composed_flow_is_the_way_in_two_steps() -> None:
    first, second = torch.zeros(1, 2, 30, 40), torch.zeros(1, 2, 30, 40)
    first[:, 0], second[:, 1] = 3, -2
    both = compose_flows(first, second)[..., 8:-8, 8:-8]
    torch.testing.assert_close(both[:, 0], torch.full_like(both[:, 0], 3))
    torch.testing.assert_close(both[:, 1], torch.full_like(both[:, 1], -2))


def test_warp_passes_gradients_when_asked() -> None:
    image = scene(32, 48).requires_grad_()
    warp(image, torch.zeros(1, 2, 16, 24), image).sum().backward()
    assert image.grad is not None
    torch.testing.assert_close(image.grad, torch.ones_like(image))
