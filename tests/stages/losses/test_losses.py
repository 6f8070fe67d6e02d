"""Losses of finished clips: zero where there is nothing to win, and steep where it is promised."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import BaseModel

from derain.stages.losses.losses import (
    LOG_MSE_FLOOR,
    LOG_MSE_SCALE,
    bernoulli_kl,
    image_losses,
    log_mse,
    rain_weight,
    ssim_loss,
    temporal_difference,
    transmission_loss,
    weighted,
)


def clip(seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 4, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def test_log_mse_is_the_logarithm_of_each_frame() -> None:
    a = torch.zeros(2, 3, 8, 8)
    b = torch.stack([torch.full((3, 8, 8), 0.1), torch.full((3, 8, 8), 0.01)])
    expected = sum(math.log(x**2 + LOG_MSE_FLOOR) for x in (0.1, 0.01)) / 2 * LOG_MSE_SCALE
    assert float(log_mse(a, b)) == pytest.approx(expected, rel=1e-5)


def test_a_decibel_less_wins_as_much_in_a_good_frame_as_in_a_bad_one() -> None:
    truth = torch.zeros(1, 3, 8, 8)
    wins = [
        float(log_mse(truth + error, truth) - log_mse(truth + error * 10**-0.05, truth))
        for error in (0.2, 0.05)
    ]
    assert wins[0] == pytest.approx(wins[1], rel=0.02)


def test_weights_multiply_the_squared_error() -> None:
    a, b = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.2)
    half = torch.ones(1, 1, 4, 4)
    half[..., :2] = 0
    expected = LOG_MSE_SCALE * math.log(0.2**2 / 2 + LOG_MSE_FLOOR)
    assert float(log_mse(a, b, half)) == pytest.approx(expected, rel=1e-5)


def test_ssim_loss_is_zero_for_equals_and_grows_with_noise() -> None:
    clean = clip()
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    losses = [float(ssim_loss(clean, clean + s * noise)) for s in (0.0, 0.05, 0.2)]
    assert losses[0] == pytest.approx(0, abs=1e-6)
    assert losses[0] < losses[1] < losses[2]


def test_temporal_difference_sees_flicker_and_no_constant_error() -> None:
    clean = clip()
    assert float(temporal_difference(clean + 0.1, clean)) == pytest.approx(0, abs=1e-6)
    flicker = clean.clone()
    flicker[:, ::2] += 0.1
    assert float(temporal_difference(flicker, clean)) == pytest.approx(0.1, abs=1e-6)


def test_bernoulli_kl_is_least_at_the_truth() -> None:
    truth = torch.tensor([0.3])
    values = {p: float(bernoulli_kl(torch.tensor([p]), truth)) for p in (0.1, 0.3, 0.5)}
    assert values[0.3] == pytest.approx(0, abs=1e-7)
    assert min(values[0.1], values[0.5]) > 0
    p, q = 0.5, 0.3
    assert values[0.5] == pytest.approx(q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p)))


def test_transmission_that_begins_high_still_learns() -> None:
    estimate = torch.tensor([0.9], dtype=torch.float64, requires_grad=True)
    transmission_loss(estimate, torch.tensor([0.5], dtype=torch.float64)).backward()
    assert estimate.grad is not None
    assert float(estimate.grad) > 1  # that of an L1 loss


@pytest.mark.parametrize(("boldness", "ratio"), [(0.0, 4), (0.5, 16), (1.0, 64)])
def test_errors_where_rain_fell_weigh_more(boldness: float, ratio: float) -> None:
    clean = torch.full((1, 1, 3, 2, 2), 0.4)
    rainy = clean.clone()
    rainy[..., 0] += 0.2
    weight = rain_weight(rainy, clean, torch.full((1, 1, 1, 1), boldness), 2.0)
    assert float(weight[..., 0].mean() / weight[..., 1].mean()) == pytest.approx(ratio, rel=1e-5)
    assert torch.equal(
        rain_weight(rainy, clean, torch.full((1, 1, 1, 1), boldness), 0.0), torch.ones_like(weight)
    )


def test_terms_are_summed_by_the_weights_of_their_names() -> None:
    class Weights(BaseModel):
        image: float = 2.0
        ssim: float = 0.0
        temporal: float = 10.0

    terms = image_losses(clip(0), clip(1))
    expected = 2 * terms["image"] + 10 * terms["temporal"]
    torch.testing.assert_close(weighted(terms, Weights()), expected)


def test_a_decibel_is_a_decibel() -> None:
    """Halving the error is worth the same on a good frame and on a bad one."""
    truth = torch.zeros(1, 1, 3, 8, 8)
    gains = [float(log_mse(truth + e, truth) - log_mse(truth + e / 2, truth)) for e in (0.4, 0.1)]
    assert gains[0] == pytest.approx(gains[1], rel=0.02)
