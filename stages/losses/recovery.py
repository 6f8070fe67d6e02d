"""Stage 1: recovery guided by the physics of rain, I = (1 - a) (t B + (1 - t) A + S) + a M.

Every layer that a network estimates is held to the one that was rendered: the recovered frame J,
the hazy frame H, transmission t and airlight A, and where asked for the streaks S and the occlusion
a. `training_loss` is all training with truth, of one stage or of two; what stage 2 adds to it is
refinement.py's.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from derain.configs.training import LossConfig, TrainingConfig
from derain.models.networks.haze_estimator import GRID, Haze
from derain.models.ops.scattering import add_haze
from derain.models.output import LAYERS, Output
from derain.models.video_model import VideoModel
from derain.stages.data.batch import Batch
from derain.stages.data.thumbnails import Thumbnails
from derain.stages.losses.haze import haze_losses, look
from derain.stages.losses.losses import (
    Objective,
    Terms,
    bernoulli_kl,
    image_losses,
    log_mse,
    rain_weight,
    transmission_loss,
    weighted,
)


def physics_losses(output: Output, batch: Batch, weight: Tensor | None = None) -> Terms:
    """The layers that the network has; each (B, T, C, H, W).

    The airlight counts only as far as there is haze to see it by, streaks only where no drop hides
    them. `weight` is of the squared error of J.

    Args:
        output: layers of a clip, (B, T, C, H, W) each; None for those that the network does not
            have.
        batch: the truth of the same clip, of the same shapes.
        weight: (B, T, 1, H, W), 0 or more, of the squared error of J; None weighs all alike.
    """
    assert output.recovered is not None
    terms = {"recovered": log_mse(output.recovered, batch.clean, weight)}
    if isinstance(output.features, Haze):
        terms |= haze_losses(output.features, thumbnails_of(batch))
    elif output.hazy is not None:
        assert output.transmission is not None and output.airlight is not None
        hazy = add_haze(batch.clean, batch.transmission, batch.airlight)
        weight = (1 - batch.transmission).mean((-1, -2), keepdim=True)
        terms |= {
            "hazy": log_mse(output.hazy, hazy),
            "transmission": transmission_loss(output.transmission, batch.transmission),
            "airlight": (weight * (output.airlight - batch.airlight).abs()).mean(),
        }
    known = (batch.occlusion >= 0).to(batch.occlusion.dtype)
    if output.streaks is not None:
        error = (output.streaks - batch.streaks).abs()
        terms["streaks"] = (known * (1 - batch.occlusion) * error).mean()
    if output.occlusion is not None:
        there = torch.where(batch.occlusion < 0, output.occlusion, batch.occlusion)
        terms["occlusion"] = bernoulli_kl(output.occlusion, there.detach())
    return terms


def training_loss(output: Output, batch: Batch, weights: LossConfig) -> tuple[Tensor, Terms]:
    """The weighted sum, and its terms before weighting.

    Args:
        output: what the network made of the clip, (B, T, C, H, W) a layer.
        batch: the truth of the same clip.
        weights: factors of the terms, 0 or more, and what rain counts.
    """
    stake = rain_weight(batch.rainy, batch.clean, batch.boldness, weights.rain_weight)
    weight = batch.weight * stake
    # What nobody knows the truth of counts as right, whatever the network makes of it.
    known = batch.weight.clamp_max(1)
    image = torch.lerp(batch.clean, output.image, known)
    terms = image_losses(image, batch.clean, weight)
    if output.recovered is not None:
        terms |= physics_losses(output, batch, weight)
    return weighted(terms, weights), terms


def run(model: VideoModel, batch: Batch) -> Output:
    """Run the clips, and the thumbnails through a haze estimator: `features` is their haze.

    A network with a haze estimator is given the haze of the clips, whose crops do not show it.
    """
    haze_estimator = model.haze_estimator
    flows = batch.flows if batch.flows.numel() else None
    if haze_estimator is None:
        return model(batch.rainy, flows=flows)[0]
    asked = {"haze": known_haze(batch), "boldness": batch.boldness, "flows": flows}
    output = model(batch.rainy, **asked)[0]
    if not batch.thumbnails.numel():
        return output
    return replace(output, features=look(haze_estimator, thumbnails_of(batch)))


def known_haze(batch: Batch) -> Haze:
    """The truth, as a haze estimator would give it; it changes little within a clip."""
    transmission = F.adaptive_avg_pool2d(batch.transmission.mean(1), GRID)
    return Haze(transmission, batch.airlight.mean(1))


def learned_layers(config: TrainingConfig) -> list[str]:
    """Which of `LAYERS` a run teaches, for the note of its weights."""
    if config.single_image is not None:
        return []
    if config.recipe == "paper":
        return [name for name in LAYERS if name != "occlusion"]
    weights = config.loss
    taught = {
        "recovered": weights.recovered,
        "hazy": weights.hazy,
        "streaks": weights.streaks,
        # Pairs from disk do not say which rain is opaque drops.
        "occlusion": weights.occlusion if config.pairs is None else 0,
        "transmission": weights.transmission or weights.haze_transmission,
        "airlight": weights.airlight or weights.haze_airlight,
    }
    return [name for name in LAYERS if taught[name]]


def thumbnails_of(batch: Batch) -> Thumbnails:
    """The part of a batch that teaches a haze estimator."""
    return Thumbnails(
        batch.thumbnails,
        batch.thumbnail_streaks,
        batch.thumbnail_transmission,
        batch.thumbnail_airlight,
    )


def video_objective(weights: LossConfig) -> Objective:
    """Of networks under the contract: clips in, `training_loss` of all their frames."""
    return Objective(
        run=run,
        loss=partial(training_loss, weights=weights),
        as_video=lambda model: model,
    )
