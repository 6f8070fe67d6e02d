"""Losses: how far an output and its physics are from the truth of a batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from derain.configs.training import LossConfig
from derain.models.contract import Output
from derain.models.physics import veil
from derain.stages.data import Batch

CHARBONNIER_EPSILON = 1e-3
SSIM_WINDOW = 7
SSIM_EVERY = 3  # frames; SSIM costs as much as a network and says little more on each frame


def charbonnier(a: Tensor, b: Tensor) -> Tensor:
    """mean sqrt((a - b)^2 + eps^2): an L1 that is smooth at zero."""
    return torch.sqrt((a - b).square() + CHARBONNIER_EPSILON**2).mean()


def structure(a: Tensor, b: Tensor) -> Tensor:
    """1 - SSIM over (B, T, 3, H, W)."""
    from kornia.metrics import ssim

    a, b = a[:, ::SSIM_EVERY].flatten(0, 1), b[:, ::SSIM_EVERY].flatten(0, 1)
    return 1 - ssim(a, b, SSIM_WINDOW).mean()


def temporal_difference(a: Tensor, b: Tensor) -> Tensor:
    """How differently two clips (B, T, C, H, W) change from frame to frame: flicker of a against b.

    The truth moves as the result does, so no warping is needed.
    """
    change_a, change_b = a[:, 1:] - a[:, :-1], b[:, 1:] - b[:, :-1]
    return (change_a - change_b).abs().mean()


def physics_losses(output: Output, batch: Batch) -> dict[str, Tensor]:
    """Stage 1: the recovered frame J, the hazy frame H, transmission t and airlight A.

    The airlight counts only as far as there is haze to see it by.
    """
    hazy = veil(batch.clean, batch.transmission, batch.airlight)
    assert output.recovered is not None and output.hazy is not None
    assert output.transmission is not None and output.airlight is not None
    weight = (1 - batch.transmission).mean((-1, -2), keepdim=True)
    return {
        "recovered": charbonnier(output.recovered, batch.clean),
        "hazy": charbonnier(output.hazy, hazy),
        "transmission": (output.transmission - batch.transmission).abs().mean(),
        "airlight": (weight * (output.airlight - batch.airlight).abs()).mean(),
    }


def training_loss(
    output: Output, batch: Batch, weights: LossConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum, and its terms before weighting."""
    terms = {
        "image": charbonnier(output.image, batch.clean),
        "ssim": structure(output.image, batch.clean),
        "temporal": temporal_difference(output.image, batch.clean),
    }
    if output.recovered is not None:
        terms |= physics_losses(output, batch)
    total = torch.stack([getattr(weights, name) * value for name, value in terms.items()]).sum()
    return total, terms


class Objective(NamedTuple):
    """What the training loop needs to know of a kind of network."""

    run: Callable[[nn.Module, Batch], Any]  # in the chosen precision
    loss: Callable[[Any, Batch], tuple[Tensor, dict[str, Tensor]]]  # of what `run` gave, float32
    as_video: Callable[[nn.Module], nn.Module]  # the network under the contract, to look at it


def video_objective(weights: LossConfig) -> Objective:
    """Of networks under the contract: clips in, `training_loss` of all their frames."""
    return Objective(
        run=lambda model, batch: model(batch.rainy)[0],
        loss=partial(training_loss, weights=weights),
        as_video=lambda model: model,
    )
