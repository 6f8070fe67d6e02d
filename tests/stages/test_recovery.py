"""Stage 1: losses on the layers of rain."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from derain.configs.training import LossConfig
from derain.models import create_model
from derain.models.physics import T_MIN
from derain.stages.data import Batch
from derain.stages.losses import DECIBEL_FLOOR, DECIBEL_SCALE
from derain.stages.recovery import physics_losses, share_loss, training_loss, transmission_loss


def haze_free(clean: torch.Tensor) -> Batch:
    """A batch without any rain."""
    ones = torch.ones(*clean.shape[:2], 1, *clean.shape[3:])
    airlight = torch.ones(*clean.shape[:2], 3, 1, 1)
    return Batch(clean, clean, ones, airlight, clean * 0, ones * 0)


def test_the_truth_has_the_least_loss() -> None:
    clean = torch.rand(1, 3, 3, 32, 32)
    batch = haze_free(clean)
    output, _ = create_model("swift").train()(clean)
    perfect = replace(
        output,
        image=clean,
        recovered=clean,
        hazy=clean,
        transmission=batch.transmission,
        streaks=batch.streaks,
        occlusion=batch.occlusion,
    )
    weights = LossConfig(streaks=1, occlusion=1)
    total, terms = training_loss(perfect, batch, weights)
    floor = DECIBEL_SCALE * math.log(DECIBEL_FLOOR)
    least = (weights.image + weights.recovered + weights.hazy) * floor
    assert total.item() == pytest.approx(least, abs=0.01)
    worse, _ = training_loss(output, batch._replace(clean=clean.flip(3)), weights)
    assert worse.item() > total.item() + 0.1
    assert set(terms) == set(LossConfig.model_fields)


def test_terms_count_as_their_weights_say() -> None:
    clean = torch.rand(1, 3, 3, 32, 32)
    output, _ = create_model("swift").train()(clean)
    weights = {name: k / 10 for k, name in enumerate(LossConfig.model_fields)}
    total, terms = training_loss(output, haze_free(clean), LossConfig(**weights))
    expected = sum(weights[name] * value.item() for name, value in terms.items())
    assert total.item() == pytest.approx(expected, rel=1e-5)


def test_streaks_count_only_where_no_drop_hides_them() -> None:
    clean = torch.rand(1, 3, 3, 32, 32)
    output, _ = create_model("swift").train()(clean)
    wrong = replace(output, streaks=torch.full_like(clean, 0.1))
    batch = haze_free(clean)
    batch.occlusion[..., :16] = 1
    assert float(physics_losses(wrong, batch)["streaks"]) == pytest.approx(0.05, abs=1e-6)


def test_networks_that_lack_layers_have_fewer_terms() -> None:
    clean = torch.rand(1, 3, 3, 16, 16)
    settings = {"variant": "reference", "width": 4, "blocks": 1, "unshuffle": 1}
    output, _ = create_model("two_stage", **settings).train()(clean)
    assert output.occlusion is None
    _, terms = training_loss(output, haze_free(clean), LossConfig())
    assert set(terms) == set(LossConfig.model_fields) - {"occlusion"}


def test_share_loss_is_a_divergence() -> None:
    p, q = torch.rand(50), torch.rand(50)
    expected = q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()
    torch.testing.assert_close(share_loss(p, q), expected.mean(), rtol=1e-3, atol=1e-4)
    assert float(share_loss(q, q)) == pytest.approx(0, abs=1e-6)
    assert math.isfinite(float(share_loss(torch.tensor([-1.0, 2.0]), torch.tensor([1.0, 0.0]))))


def test_transmission_loss_pulls_a_saturated_head_back() -> None:
    """Where the sigmoid is flat an L1 loss hardly moves the head; this one does."""
    thick = torch.full((1, 1, 1, 2, 2), 0.5)
    gradients = []
    for loss in (transmission_loss, lambda a, b: (a - b).abs().mean()):
        head = torch.full((1, 1, 1, 2, 2), 7.0, requires_grad=True)
        loss(T_MIN + (1 - T_MIN) * torch.sigmoid(head), thick).backward()
        assert head.grad is not None
        gradients.append(float(head.grad.abs().mean()))
    assert gradients[0] > 50 * gradients[1]
    assert float(transmission_loss(thick, thick)) == pytest.approx(0, abs=1e-6)
