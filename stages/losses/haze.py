"""How the haze estimator (networks/haze_estimator.py) learns; it is shown thumbnails."""

from __future__ import annotations

import torch
from torch import Tensor

from derain.models.networks.haze_estimator import Haze, HazeEstimator, full_size
from derain.models.ops.scattering import add_haze, dehaze
from derain.stages.data.thumbnails import Thumbnails
from derain.stages.losses.losses import Terms, transmission_loss

FLOOR = 1e-4  # squared error below which nothing more is to win


def look(haze_estimator: HazeEstimator, thumbnails: Thumbnails) -> Haze:
    """The haze that a haze estimator sees in (B, K, …) thumbnails, as (B K, …), through rain."""
    return haze_estimator((_hazy(thumbnails) + thumbnails.streaks.flatten(0, 1)).clamp(0, 1))


def haze_losses(found: Haze, thumbnails: Thumbnails) -> Terms:
    """Errors of t, of A as far as there is haze to see it by, and of the image without haze."""
    clean, _, transmission, airlight = (x.flatten(0, 1) for x in thumbnails)
    cleared = dehaze(
        _hazy(thumbnails), full_size(found.transmission, *clean.shape[-2:]), found.airlight
    )
    error = (cleared.clamp(-0.2, 1.2) - clean).square().mean((-1, -2, -3))
    weight = (1 - transmission).mean((-1, -2), keepdim=True)
    return {
        "haze_transmission": transmission_loss(found.transmission, transmission),
        "haze_airlight": (weight * (found.airlight - airlight).abs()).mean(),
        "haze_image": 0.1 * torch.log(error + FLOOR).mean(),
    }


def _hazy(thumbnails: Thumbnails) -> Tensor:
    """(B K, 3, FINE, FINE)."""
    clean, _, transmission, airlight = (x.flatten(0, 1) for x in thumbnails)
    return add_haze(clean, full_size(transmission, *clean.shape[-2:]), airlight)
