"""Losses: how far an output and its physics are from the truth of a batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from derain.configs.training import LossConfig
from derain.models.contract import Output
from derain.models.physics import T_MIN, veil
from derain.stages.data import Batch

DECIBEL_SCALE = 0.01  # as steep as an L1 at an error of 0.02
DECIBEL_FLOOR = 3e-5
SSIM_WINDOW = 7
SSIM_EVERY = 3  # frames; SSIM costs as much as a network and says little more on each frame


def decibel_loss(a: Tensor, b: Tensor) -> Tensor:
    """The logarithm of every frame's squared error, (…, C, H, W): a decibel is a decibel.

    An L1 loss is ruled by the worst frames, and a network under it takes a little harm to clean
    ones for a gain in heavy rain. Below -10 log10(FLOOR) = 45 dB of error nothing more is to win.
    """
    error = (a - b).square().mean((-1, -2, -3))
    return DECIBEL_SCALE * torch.log(error + DECIBEL_FLOOR).mean()


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


def transmission_loss(estimate: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy of t as a share of its range, zero where the two agree.

    Its gradient does not vanish where the sigmoid of the head saturates: under an L1 loss a
    network that starts at t = 1 stays there and never learns to see haze.
    """
    p = ((estimate - T_MIN) / (1 - T_MIN)).clamp(1e-5, 1 - 1e-5)
    q = ((truth - T_MIN) / (1 - T_MIN)).clamp(1e-5, 1 - 1e-5)
    return (q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()).mean()


def physics_losses(output: Output, batch: Batch) -> dict[str, Tensor]:
    """Stage 1: the recovered frame J, the hazy frame H, transmission t and airlight A.

    The airlight counts only as far as there is haze to see it by.
    """
    hazy = veil(batch.clean, batch.transmission, batch.airlight)
    assert output.recovered is not None and output.hazy is not None
    assert output.transmission is not None and output.airlight is not None
    weight = (1 - batch.transmission).mean((-1, -2), keepdim=True)
    return {
        "recovered": decibel_loss(output.recovered, batch.clean),
        "hazy": decibel_loss(output.hazy, hazy),
        "transmission": transmission_loss(output.transmission, batch.transmission),
        "airlight": (weight * (output.airlight - batch.airlight).abs()).mean(),
    }


def training_loss(
    output: Output, batch: Batch, weights: LossConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum, and its terms before weighting."""
    terms = {
        "image": decibel_loss(output.image, batch.clean),
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
