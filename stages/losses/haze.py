"""How a glance (networks/haze_estimator.py) learns haze; thumbnails.py is what it is shown."""

from __future__ import annotations

import torch
from torch import Tensor

from derain.models.networks.haze_estimator import Glance, Haze, full_size
from derain.models.ops.scattering import invert_veil, veil
from derain.stages.data.thumbnails import Glimpses
from derain.stages.losses.losses import Terms, transmission_loss

FLOOR = 1e-4  # squared error below which nothing more is to win


def look(glance: Glance, glimpses: Glimpses) -> Haze:
    """The haze that a glance sees in (B, K, …) glimpses, as (B K, …), through rain."""
    return glance((_hazy(glimpses) + glimpses.streaks.flatten(0, 1)).clamp(0, 1))


def haze_losses(found: Haze, glimpses: Glimpses) -> Terms:
    """Errors of t, of A as far as there is haze to see it by, and of the picture without haze."""
    clean, _, transmission, airlight = (x.flatten(0, 1) for x in glimpses)
    cleared = invert_veil(
        _hazy(glimpses), full_size(found.transmission, *clean.shape[-2:]), found.airlight
    )
    error = (cleared.clamp(-0.2, 1.2) - clean).square().mean((-1, -2, -3))
    weight = (1 - transmission).mean((-1, -2), keepdim=True)
    return {
        "glance_transmission": transmission_loss(found.transmission, transmission),
        "glance_airlight": (weight * (found.airlight - airlight).abs()).mean(),
        "glance_image": 0.1 * torch.log(error + FLOOR).mean(),
    }


def _hazy(glimpses: Glimpses) -> Tensor:
    """(B K, 3, FINE, FINE)."""
    clean, _, transmission, airlight = (x.flatten(0, 1) for x in glimpses)
    return veil(clean, full_size(transmission, *clean.shape[-2:]), airlight)
