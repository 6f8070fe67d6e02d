"""Thumbnails: shapes, ranges, seeds, and how many of them have haze."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from derain.models.networks.haze_estimator import FINE, GRID
from derain.stages.data.thumbnails import Thumbnails, draw_thumbnails


@pytest.fixture(scope="module")
def decoded(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    path = tmp_path_factory.mktemp("clip") / "a.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (4, 60, 80, 3), np.uint8))
    return [path]


def drawn(files: list[Path], haze: float, seed: int = 0, count: int = 12) -> Thumbnails:
    return draw_thumbnails(files, count, np.random.default_rng(seed), haze)


def test_shapes_and_ranges(decoded: list[Path]) -> None:
    found = drawn(decoded, 0.5)
    assert found.clean.shape == found.streaks.shape == (12, 3, FINE, FINE)
    assert found.transmission.shape == (12, 1, GRID, GRID)
    assert found.airlight.shape == (12, 3, 1, 1)
    for part in (found.clean, found.transmission, found.airlight):
        assert float(part.min()) >= 0 and float(part.max()) <= 1
    assert float(found.streaks.min()) >= 0


def test_a_seed_is_a_set(decoded: list[Path]) -> None:
    one, two, other = (drawn(decoded, 0.5, seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not torch.equal(one.clean, other.clean)


@pytest.mark.parametrize(("share", "hazy"), [(0.0, 0), (1.0, 12)])
def test_so_many_have_haze(decoded: list[Path], share: float, hazy: int) -> None:
    found = drawn(decoded, share)
    assert int((found.transmission.amin((1, 2, 3)) < 1).sum()) == hazy
