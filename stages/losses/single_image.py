"""Losses of the single-image networks, as their papers train them.

RESCAN (Li et al., ECCV 2018): the squared error of every stage. ReMAEN (Yang and Lu, ICME 2019):
that of the last one and of its edges. DCSFN (Wang et al., ACM MM 2020): negative SSIM. SPANet (Wang
et al., CVPR 2019): L1, SSIM and where the rain is. The schedules are in the presets
(configs/rescan.yaml, …), the loop is training/loop.py's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from derain.configs.single_image import SingleImageConfig
from derain.models.networks.per_frame import PerFrame
from derain.stages.data.batch import Batch
from derain.stages.losses.losses import Objective, Terms, log_mse
from derain.stages.losses.ssim import padded_ssim

GREY = (0.2989, 0.5870, 0.1140)  # of R, G, B; the original weighs B, G, R so by mistake


def edges(image: Tensor) -> Tensor:
    """The bright side of edges of the grey image: (B, 3, H, W) -> (B, 1, H, W), ReMAEN's E."""
    grey = (image * image.new_tensor(GREY).view(3, 1, 1)).sum(1, keepdim=True)
    kernel = image.new_full((1, 1, 3, 3), -1.0)
    kernel[..., 1, 1] = 8
    return F.relu(F.conv2d(grey, kernel, padding=1))


def rainy_mask(rainy: Tensor, clean: Tensor, tolerance: float) -> Tensor:
    """1 where any channel differs by more than `tolerance`, else 0: (B, 1, H, W).

    Args:
        rainy: (B, 3, H, W) in [0, 1].
        clean: (B, 3, H, W) in [0, 1].
        tolerance: in [0, 1]; 8 / 255 keeps what JPEG does to dry pixels out.
    """
    return ((rainy - clean).abs().amax(1, keepdim=True) > tolerance).to(clean.dtype)


def rescan_terms(
    stages: list[Tensor], rainy: Tensor, clean: Tensor, config: SingleImageConfig
) -> Terms:
    """The squared error of every stage's estimate, all of equal weight.

    Args:
        stages: the estimate of each stage, (B, 3, H, W).
        rainy: (B, 3, H, W) in [0, 1].
        clean: (B, 3, H, W) in [0, 1].
        config: weights of the terms.
    """
    error = log_mse if config.decibels else F.mse_loss
    return {f"stage {i}": error(stage, clean) for i, stage in enumerate(stages, 1)}


def remaen_terms(
    stages: list[Tensor], rainy: Tensor, clean: Tensor, config: SingleImageConfig
) -> Terms:
    """The squared error of the last estimate and, with a weight, of its edges.

    Args:
        stages: the estimate of each stage, (B, 3, H, W).
        rainy: (B, 3, H, W) in [0, 1].
        clean: (B, 3, H, W) in [0, 1].
        config: weights of the terms.
    """
    edge = F.mse_loss(edges(stages[-1]), edges(clean))
    return {"image": F.mse_loss(stages[-1], clean), "edge": config.edge * edge}


def dcsfn_terms(image: Tensor, rainy: Tensor, clean: Tensor, config: SingleImageConfig) -> Terms:
    """Negative SSIM, and L1 if it has a weight.

    Args:
        image: the estimate, (B, 3, H, W).
        rainy: (B, 3, H, W) in [0, 1].
        clean: (B, 3, H, W) in [0, 1].
        config: weights of the terms.
    """
    terms = {"ssim": -padded_ssim(image, clean)}
    return terms | ({"l1": config.l1 * F.l1_loss(image, clean)} if config.l1 else {})


def spanet_terms(
    given: tuple[Tensor, list[Tensor]], rainy: Tensor, clean: Tensor, config: SingleImageConfig
) -> Terms:
    """L1, 1 - SSIM, and the squared error of the first attention map against the rain's place.

    Args:
        given: the estimate, (B, 3, H, W), and the attention maps, (B, 1, H, W).
        rainy: (B, 3, H, W) in [0, 1].
        clean: (B, 3, H, W) in [0, 1].
        config: weights of the terms.
    """
    image, attention = given[0].float(), given[1]
    mask = rainy_mask(rainy, clean, config.tolerance)
    return {
        "l1": F.l1_loss(image, clean),
        "ssim": 1 - padded_ssim(image, clean),
        "attention": config.attention * F.mse_loss(attention[0].float(), mask),
    }


class Recipe(NamedTuple):
    """How a network is run to be trained, and its loss: weighted terms that are added up."""

    run: Callable[[Any, Tensor], Any]
    terms: Callable[[Any, Tensor, Tensor, SingleImageConfig], Terms]


RECIPES = {
    "rescan": Recipe(lambda net, rainy: net.forward_stages(rainy), rescan_terms),
    "remaen": Recipe(lambda net, rainy: net.forward_stages(rainy), remaen_terms),
    "dcsfn": Recipe(lambda net, rainy: net(rainy).float(), dcsfn_terms),
    "spanet": Recipe(lambda net, rainy: net.forward_with_attention(rainy), spanet_terms),
}


def single_image_objective(config: SingleImageConfig) -> Objective:
    """The objective of `config.loss`: every frame of a batch is an image by itself."""
    recipe = RECIPES[config.loss]

    def run(net: nn.Module, batch: Batch) -> Any:
        return recipe.run(net, batch.rainy.flatten(0, 1))

    def loss(result: Any, batch: Batch) -> tuple[Tensor, Terms]:
        rainy, clean = batch.rainy.flatten(0, 1), batch.clean.flatten(0, 1)
        terms = recipe.terms(result, rainy, clean, config)
        return torch.stack(list(terms.values())).sum(), terms

    return Objective(run=run, loss=loss, as_video=PerFrame)
