"""What teaches the haze estimator: thumbnails of whole frames, and its losses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from derain.models.networks.haze_estimator import FINE, GRID, HazeEstimator
from derain.stages.data import thumbnails
from derain.stages.data.thumbnails import Thumbnails, draw_thumbnails
from derain.stages.losses.haze import haze_losses, look


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two clips of large dark and bright parts."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{k}.npy" for k in range(2)]
    for path in paths:
        coarse = rng.integers(0, 256, (3, 9, 16, 3), dtype=np.uint8)
        np.save(path, coarse.repeat(10, 1).repeat(10, 2))
    return paths


def draw(files: list[Path], count: int, haze_prob: float, seed: int = 0) -> Thumbnails:
    drawn = draw_thumbnails(files, count, np.random.default_rng(seed), haze_prob)
    return Thumbnails(*(part[None] for part in drawn))


def test_the_same_seed_draws_the_same(files: list[Path]) -> None:
    for a, b in zip(draw(files, 2, 0.5), draw(files, 2, 0.5), strict=True):
        torch.testing.assert_close(a, b, atol=0, rtol=0)


def test_haze_comes_in_its_share(files: list[Path]) -> None:
    assert draw(files, 4, 0.0).transmission.min() == 1
    hazy = draw(files, 8, 1.0)
    assert hazy.clean.shape == (1, 8, 3, FINE, FINE)
    assert hazy.transmission.shape == (1, 8, 1, GRID, GRID)
    assert hazy.transmission.mean((-1, -2)).max() < 0.95


def test_some_thumbnails_hold_part_of_another_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnails, "PAINTED", 0.0)
    files = [tmp_path / "dark.npy", tmp_path / "bright.npy"]
    for file, value in zip(files, (40, 200), strict=True):
        np.save(file, np.full((1, 20, 30, 3), value, np.uint8))
    drawn = draw(files, 60, 0.0).clean[0].flatten(1)
    assert 3 <= int((drawn.amax(1) - drawn.amin(1) > 0.2).sum()) <= 25


def test_painted_thumbnails_are_of_several_tones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnails, "PAINTED", 1.0)
    np.save(tmp_path / "plain.npy", np.full((1, 20, 30, 3), 120, np.uint8))
    drawn = draw([tmp_path / "plain.npy"], 8, 0.0).clean[0]
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert drawn.flatten(1).std(1).min() > 0.03


def test_rain_only_adds_light_to_two_thirds(files: list[Path]) -> None:
    drawn = draw(files, 24, 0.5)
    assert drawn.streaks.min() >= 0
    means = drawn.streaks.mean((2, 3, 4))
    assert 1 <= int((means == 0).sum()) <= 16
    assert 0.01 < means.max() < 0.15


def test_a_glance_learns_to_see_haze(files: list[Path]) -> None:
    torch.manual_seed(0)
    haze_estimator = HazeEstimator(8)
    optimiser = torch.optim.Adam(haze_estimator.parameters(), 2e-2)
    batch = draw(files, 6, 0.5)
    losses = []
    for _ in range(30):
        terms = haze_losses(look(haze_estimator, batch), batch)
        loss = torch.stack(list(terms.values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(terms["haze_transmission"].detach()))
    assert losses[-1] < losses[0] / 4
