"""Drops before the lens: discs, rings, and how they are drawn out."""

from __future__ import annotations

import torch

from derain.stages.data.rain.lens import lens_masks
from derain.stages.data.rain.settings import LensDrops

SIZE = (60, 80)


def masks(drops: LensDrops, frames: int = 3, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    times = torch.arange(float(frames))
    return lens_masks(drops, 0.0, times, SIZE, torch.device("cpu"), generator)


def test_masks_have_a_frame_each_and_are_shares_of_light() -> None:
    found = masks(LensDrops(6, 5.0, 0.5))
    assert found.shape == (3, 1, *SIZE)
    assert float(found.min()) == 0 and 0.05 < float(found.max()) <= 0.5
    assert not torch.equal(found[0], found[1])  # they fall


def test_more_drops_and_larger_ones_cover_more() -> None:
    def covered(count: float, radius: float) -> float:
        drops = LensDrops(count, radius, 0.5, fall=0.0)
        return sum(float((masks(drops, 1, seed) > 0).float().mean()) for seed in range(8))

    assert covered(12, 4.0) > 1.5 * covered(3, 4.0) > 0
    assert covered(6, 8.0) > 1.5 * covered(6, 4.0)


def test_rings_are_dark_inside() -> None:
    disc, ring = (masks(LensDrops(1, 12.0, 1.0, ring=x, fall=0.0), 1) for x in (0.0, 1.0))
    lit = disc > 0
    assert float(ring[lit].mean()) < 0.7 * float(disc[lit].mean())


def test_the_longer_the_shutter_the_longer_and_fainter() -> None:
    short, long = (masks(LensDrops(4, 4.0, 0.8, fall=60.0, shutter=s), 1) for s in (0.01, 0.6))
    assert float((long > 0).float().mean()) > 1.3 * float((short > 0).float().mean())
    assert float(long.max()) < float(short.max())
