"""Rain drawn at random: ranges hold, and a seed is a rain."""

from __future__ import annotations

import pytest
import torch

from derain.stages.data.rain.sampling import Ranges, sample_settings


def settings(seed: int, **probs: float):  # type: ignore[no-untyped-def]
    return sample_settings(torch.Generator().manual_seed(seed), **probs)


def test_numbers_lie_in_their_ranges() -> None:
    draw = Ranges(torch.Generator().manual_seed(0))
    for low, high in ((0.1, 8.0), (3.0, 3.0)):
        for way in (draw.uniform, draw.log_uniform):
            values = [way(low, high) for _ in range(200)]
            assert min(values) >= low * 0.999 and max(values) <= high * 1.001
    small = sum(draw.log_uniform(0.01, 1) < 0.1 for _ in range(1000))
    assert small == pytest.approx(500, abs=80)  # half of the logarithms
    assert sum(draw.chance(0.2) for _ in range(1000)) == pytest.approx(200, abs=60)


def test_a_seed_is_a_rain() -> None:
    assert settings(1) == settings(1) != settings(2)


@pytest.mark.parametrize("seed", range(40))
def test_what_is_drawn_can_be_rendered(seed: int) -> None:
    rain = settings(seed, haze_prob=0.5, snow_prob=0.2)
    assert 1 <= len(rain.layers) <= 9
    for layer in rain.layers:
        assert 0 < layer.coverage <= 0.3 and layer.width > 0 and layer.length > 0
        assert 0 <= layer.opaque <= 1 and 0 <= layer.fade <= 1
    assert all(0 <= light <= 1 for light in rain.airlight)
    assert -40 <= rain.angle <= 40


def test_haze_and_snow_come_in_the_shares_asked_for() -> None:
    assert all(settings(seed, haze_prob=0.0).haze == 0 for seed in range(20))
    assert all(settings(seed, haze_prob=1.0).haze >= 0.45 for seed in range(20))
    for seed in range(20):
        flakes = settings(seed, snow_prob=1.0).layers[0]
        assert flakes.length <= 2.5 * flakes.width and flakes.opaque >= 0.4
