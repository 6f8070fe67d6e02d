"""Stage 1: losses on the layers of rain."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from derain.configs.single_image import PairsConfig, SingleImageConfig
from derain.configs.training import LossConfig, TrainingConfig
from derain.models import create_model
from derain.models.networks.haze_estimator import FINE, GRID, Haze
from derain.models.ops.scattering import T_MIN, add_haze
from derain.models.output import LAYERS, Output
from derain.stages.data.batch import UNKNOWN, Batch
from derain.stages.losses import haze
from derain.stages.losses.losses import (
    LOG_MSE_FLOOR,
    LOG_MSE_SCALE,
    bernoulli_kl,
    transmission_loss,
)
from derain.stages.losses.recovery import learned_layers, physics_losses, run, training_loss

TERMS = set(LossConfig.model_fields) - {"rain_weight"}
HAZE = {name for name in TERMS if name.startswith("haze_")}
MAPS = {"hazy", "transmission", "airlight"}
SMALL = {"width": 4, "blocks": 1, "unshuffle": 2}


def haze_free(clean: torch.Tensor) -> Batch:
    """A batch without any rain, with two thumbnails for each clip."""
    ones = torch.ones(*clean.shape[:2], 1, *clean.shape[3:])
    airlight = torch.ones(*clean.shape[:2], 3, 1, 1)
    image = torch.rand(clean.shape[0], 2, 3, FINE, FINE)
    thin, light = torch.full_like(image[:, :, :1, :GRID, :GRID], 0.6), airlight[:, :2] * 0.8
    rain = (clean * 0, ones * 0)
    asked = (torch.full((clean.shape[0], 1, 1, 1), 0.5), ones)
    return Batch(clean, clean, ones, airlight, *rain, *asked, image, image * 0, thin, light)


def seen(name: str, batch: Batch) -> Output:
    """What a network gives in training."""
    settings = SMALL if name == "two_stage" else {}
    return run(create_model(name, **settings).train(), batch)


@pytest.mark.parametrize(("name", "lacks"), [("swift", MAPS), ("two_stage", HAZE)])
def test_the_truth_has_the_least_loss(name: str, lacks: set[str]) -> None:
    clean = torch.rand(1, 3, 3, 32, 32)
    batch = haze_free(clean)
    output = seen(name, batch)
    truth = Haze(batch.thumbnail_transmission[0], batch.thumbnail_airlight[0])
    perfect = replace(
        output,
        image=clean,
        recovered=clean,
        hazy=None if output.hazy is None else clean,
        features=truth if name == "swift" else None,
        transmission=batch.transmission,
        streaks=batch.streaks,
        occlusion=batch.occlusion,
    )
    weights = LossConfig(streaks=1, occlusion=1)
    total, terms = training_loss(perfect, batch, weights)
    floor = LOG_MSE_SCALE * math.log(LOG_MSE_FLOOR)
    least = (weights.image + weights.recovered) * floor
    if name == "swift":
        least += weights.haze_image * 0.1 * math.log(haze.FLOOR)
    else:
        least += weights.hazy * floor
    assert total.item() == pytest.approx(least, abs=0.01)
    worse, _ = training_loss(output, batch._replace(clean=clean.flip(3)), weights)
    assert worse.item() > total.item() + 0.1
    assert set(terms) == TERMS - lacks


def test_terms_count_as_their_weights_say() -> None:
    clean = torch.rand(1, 3, 3, 32, 32)
    batch = haze_free(clean)
    output = seen("swift", batch)
    weights = {name: k / 10 for k, name in enumerate(LossConfig.model_fields)}
    total, terms = training_loss(output, batch, LossConfig(**weights))
    expected = sum(weights[name] * value.item() for name, value in terms.items())
    assert total.item() == pytest.approx(expected, rel=1e-5)


def test_streaks_count_only_where_no_drop_hides_them() -> None:
    clean = torch.rand(1, 3, 3, 32, 32)
    output, _ = create_model("swift").train()(clean)
    wrong = replace(output, streaks=torch.full_like(clean, 0.1))
    batch = haze_free(clean)
    batch.occlusion[..., :16] = 1
    assert float(physics_losses(wrong, batch)["streaks"]) == pytest.approx(0.05, abs=1e-6)


def test_layers_that_nobody_knows_teach_nothing() -> None:
    clean = torch.rand(1, 3, 3, 32, 32)
    output, _ = create_model("swift").train()(clean)
    wrong = replace(output, streaks=torch.full_like(clean, 0.1))
    batch = haze_free(clean)
    batch = batch._replace(occlusion=torch.full_like(batch.occlusion, UNKNOWN))
    terms = physics_losses(wrong, batch)
    assert float(terms["streaks"]) == 0
    assert float(terms["occlusion"]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({}, set()),
        ({"loss": LossConfig(occlusion=0)}, {"occlusion"}),
        ({"loss": LossConfig(streaks=0, hazy=0)}, {"streaks", "hazy"}),
        ({"pairs": PairsConfig(folder="x", layout="videos")}, {"occlusion"}),
        ({"recipe": "paper"}, {"occlusion"}),
        ({"single_image": SingleImageConfig(loss="rescan")}, set(LAYERS)),
    ],
)
def test_weights_say_which_layers_they_were_taught(
    changes: dict[str, object], missing: set[str]
) -> None:
    config = TrainingConfig(model="swift").model_copy(update=changes)
    assert set(LAYERS) - set(learned_layers(config)) == missing


@pytest.mark.parametrize("name", ["swift", "two_stage"])
def test_streaks_are_bounded(name: str) -> None:
    """Whatever the last layer gives."""
    model = create_model(name).train()
    head = model.rain if name == "swift" else model.stages.rain.decoder.out
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.fill_(3.0)
    streaks = model(torch.rand(1, 3, 3, 32, 32))[0].streaks
    assert float(streaks.abs().max()) <= 1


def test_networks_that_lack_layers_have_fewer_terms() -> None:
    clean = torch.rand(1, 3, 3, 16, 16)
    settings = {"variant": "reference", "width": 4, "blocks": 1, "unshuffle": 1}
    output, _ = create_model("two_stage", **settings).train()(clean)
    assert output.occlusion is None
    _, terms = training_loss(output, haze_free(clean), LossConfig())
    assert set(terms) == TERMS - HAZE - {"occlusion"}


def test_clips_are_given_their_haze() -> None:
    """Untrained, `swift` changes nothing but the haze, which the crops could not tell it."""
    clean = torch.rand(1, 1, 3, 32, 32).expand(1, 4, 3, 32, 32)
    batch = haze_free(clean)
    t, airlight = torch.full_like(batch.transmission, 0.5), torch.full_like(batch.airlight, 0.9)
    batch = batch._replace(rainy=add_haze(clean, t, airlight), transmission=t, airlight=airlight)
    torch.testing.assert_close(seen("swift", batch).image, clean, atol=1e-4, rtol=0)


def test_bernoulli_kl_is_a_divergence() -> None:
    p, q = torch.rand(50), torch.rand(50)
    expected = q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()
    torch.testing.assert_close(bernoulli_kl(p, q), expected.mean(), rtol=1e-3, atol=1e-4)
    assert float(bernoulli_kl(q, q)) == pytest.approx(0, abs=1e-6)
    assert math.isfinite(float(bernoulli_kl(torch.tensor([-1.0, 2.0]), torch.tensor([1.0, 0.0]))))


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
