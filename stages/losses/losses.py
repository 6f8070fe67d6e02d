"""How far images are from the truth, and what the training loop needs to know of a loss.

The physics of stage 1 are recovery.py's, the terms of stage 2 refinement.py's and adversary.py's,
those of a haze estimator haze.py's, those of single-image networks single_image.py's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from derain.models.ops.scattering import T_MIN
from derain.stages.losses.balance import Balance

Terms = dict[str, Tensor]

LOG_MSE_SCALE = 0.01  # as steep as an L1 at an error of 0.02
LOG_MSE_FLOOR = 3e-5
RAINY = 6 / 255  # change by rain at which a pixel counts as a rainy one in full
SSIM_WINDOW = 7
SSIM_EVERY = 3  # frames; SSIM costs as much as a network and says little more on each frame


class Objective(NamedTuple):
    """What the training loop needs to know of a kind of network."""

    run: Callable[[Any, Any], Any]  # network and batch, in the chosen precision
    loss: Callable[[Any, Any], tuple[Tensor, Terms]]  # of what `run` gave and the batch, float32
    as_video: Callable[[nn.Module], nn.Module]  # the network under the contract, to look at it
    critic: Critic | None = None  # what learns against the network


class Critic(NamedTuple):
    """A discriminator; its batches are what the network's `run` gave."""

    module: nn.Module
    objective: Objective
    learning_rate: float
    beta1: float
    balance: Balance | None  # of the network's adversarial term


def log_mse(a: Tensor, b: Tensor, weight: Tensor | None = None) -> Tensor:
    """The logarithm of every frame's squared error, (…, C, H, W): a decibel is a decibel.

    An L1 loss is ruled by the worst frames, and a network under it takes a little harm to clean
    ones for a gain in heavy rain. Beyond -10 log10(LOG_MSE_FLOOR) = 45 dB little more is to win.
    `weight` (…, 1, H, W) multiplies the squared error of each pixel.

    Args:
        a: (…, C, H, W).
        b: (…, C, H, W).
        weight: (…, 1, H, W), of each pixel.
    """
    error = (a - b).square()
    error = (error if weight is None else error * weight).mean((-1, -2, -3))
    return LOG_MSE_SCALE * torch.log(error + LOG_MSE_FLOOR).mean()


def ssim_loss(a: Tensor, b: Tensor) -> Tensor:
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


def bernoulli_kl(estimate: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy of shares in [0, 1], less that of the truth: zero where the two agree.

    Its gradient does not vanish where the sigmoid of a head saturates.
    """
    p, q = estimate.clamp(1e-5, 1 - 1e-5), truth.clamp(1e-5, 1 - 1e-5)
    return (q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()).mean()


def transmission_loss(estimate: Tensor, truth: Tensor) -> Tensor:
    """`bernoulli_kl` of t as a share of its range.

    Under an L1 loss a network that starts at t = 1 stays there and never learns to see haze.
    """
    return bernoulli_kl((estimate - T_MIN) / (1 - T_MIN), (truth - T_MIN) / (1 - T_MIN))


def rain_weight(rainy: Tensor, clean: Tensor, boldness: Tensor, slope: float) -> Tensor:
    """What an error costs at every pixel, (B, T, 1, H, W): more where rain fell.

    A network that is paid for all pixels alike leaves rain in doubt.

    Args:
        rainy, clean: (B, T, 3, H, W) in [0, 1].
        boldness: (B, 1, 1, 1) in [0, 1].
        slope: 0 counts all pixels alike. Else an error where rain fell weighs 4 ** (slope *
            (0.5 + boldness)) times as much as one where none fell: for 2 it is 4, 16 and 64 times
            at boldness 0, 0.5 and 1.
    """
    rain = ((rainy - clean).abs().amax(2, keepdim=True) / RAINY).clamp(0, 1)
    stake = torch.exp2(slope * (0.5 + boldness))[:, None]
    return rain * stake + (1 - rain) / stake


def image_losses(image: Tensor, clean: Tensor, weight: Tensor | None = None) -> Terms:
    """Of a finished clip against the truth, (B, T, 3, H, W) both; `weight` as in `log_mse`.

    Args:
        image: (B, T, 3, H, W).
        clean: (B, T, 3, H, W).
        weight: (B, T, 1, H, W), or None.
    """
    return {
        "image": log_mse(image, clean, weight),
        "ssim": ssim_loss(image, clean),
        "temporal": temporal_difference(image, clean),
    }


def weighted(terms: Terms, weights: BaseModel) -> Tensor:
    """The sum of terms, each times the weight of its name."""
    return torch.stack([getattr(weights, name) * value for name, value in terms.items()]).sum()
