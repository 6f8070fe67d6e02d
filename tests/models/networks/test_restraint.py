"""What stands still stays; what is brighter than its neighbours goes where boldness says so."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from derain.models import Derainer, load_model
from derain.models.networks.restraint import (
    PASSING,
    RAMP,
    STANDING,
    darken_transients,
    keep_standing,
)


def plane(value: float) -> Tensor:
    return torch.full((1, 1, 2, 2), value)


def held(image: float, change: float, standing: float = STANDING, gain: float = 1.0) -> float:
    """One value of a frame of 0.8 that a network made `image`."""
    bounds = plane(change), plane(gain), torch.full((1, 1, 1, 1), standing)
    return float(keep_standing(plane(image).expand(1, 3, 2, 2), plane(0.8), *bounds)[0, 0, 0, 0])


def test_what_hardly_changes_is_kept_whole_and_nothing_suddenly() -> None:
    assert held(0.3, change=0.0) == held(0.3, change=STANDING - RAMP) == torch.tensor(0.8)
    steps = [held(0.3, change / 255) for change in range(20)]
    assert steps == sorted(steps, reverse=True)
    assert max(a - b for a, b in pairwise(steps)) < 8 / 255


def test_no_more_is_taken_than_what_passes_can_have_changed() -> None:
    assert abs(held(0.1, change=0.2) - (0.8 - PASSING * 0.2)) < 1e-6
    assert abs(held(0.1, change=0.2, gain=2) - (0.8 - PASSING * 0.4)) < 1e-6
    assert abs(held(0.7, change=0.2) - 0.7) < 1e-6


def test_boldness_and_a_frame_alone_lift_the_bounds() -> None:
    assert abs(held(0.1, change=0.0, standing=0.0) - 0.1) < 1e-6
    assert abs(held(0.1, change=0.05, standing=0.0) - 0.1) < 1e-6
    cautious, usual = held(0.6, 8 / 255, 2 * STANDING), held(0.6, 8 / 255)
    assert cautious == torch.tensor(0.8) and usual < 0.79


def test_what_stands_still_before_a_moving_scene_comes_out_as_it_went_in() -> None:
    wide = torch.rand(1, 3, 8, 24, generator=torch.Generator().manual_seed(2))
    wide = torch.nn.functional.interpolate(wide, (64, 192), mode="bicubic").clamp(0, 1)
    clip = torch.cat([0.6 * wide[..., 3 * t : 3 * t + 96] for t in range(7)])
    clip[..., 20:44, 30:33] = 0.9  # thin, bright and upright, as rain is
    outputs = list(Derainer(load_model("swift"), "cpu", "fp32", engine="torch").stream(clip))
    kept = torch.cat([out.image for out in outputs])[..., 20:44, 30:33]
    torch.testing.assert_close(kept, clip[..., 20:44, 30:33], rtol=0, atol=1e-6)


def test_what_is_brighter_than_its_neighbours_goes_by_as_much_as_caution_lacks() -> None:
    image, bound = plane(0.8).expand(1, 3, 2, 2), plane(0.5).expand(1, 3, 2, 2)
    for caution, left in ((2.0, 0.8), (1.0, 0.8), (0.5, 0.65), (0.0, 0.5)):
        found = darken_transients(image, bound, torch.full((1, 1, 1, 1), caution))
        torch.testing.assert_close(found, torch.full_like(found, left))
