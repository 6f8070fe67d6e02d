"""A glance at the whole frame: how thick the haze is, and what colour.

Haze cannot be told from a pale scene by looking at a part of it. What gives it away is the whole:
nearly every scene has something dark in it (the dark channel of He et al., CVPR 2009), and under
haze nothing is. So the glance sees the darkest, mean and brightest values of a coarse grid over the
frame, which haze changes in the same way as it changes pixels, and gives transmission on that grid
and one airlight. A wall, a sky or a fade to white has nothing dark either: what is as bright
everywhere tells nothing, and is left alone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from derain.models.layers import activate
from derain.models.physics import T_MIN

GRID = 16  # cells on each side
THIN = 0.82  # mean transmission above which haze is left alone
FLAT = 0.2  # spread of the cells' brightness below which a picture tells nothing of haze
STEEPNESS = 50.0  # of the change at THIN and at FLAT
FINE = 128  # pixels on each side of the picture from which the cells take their extremes


class Haze(NamedTuple):
    """transmission: (B, 1, GRID, GRID) in [T_MIN, 1]. airlight: (B, 3, 1, 1) in [0, 1]."""

    transmission: Tensor
    airlight: Tensor


def glimpse(frame: Tensor) -> Tensor:
    """(B, 3, H, W) of any size -> (B, 3, FINE, FINE): means, so that no grain is an extreme."""
    return F.adaptive_avg_pool2d(frame, FINE)


def full_size(transmission: Tensor, height: int, width: int) -> Tensor:
    """Transmission of the grid -> (B, 1, H, W)."""
    return F.interpolate(transmission, (height, width), mode="bilinear", align_corners=False)


def believed(transmission: Tensor) -> Tensor:
    """How far haze is believed in, (B, 1, 1, 1) in [0, 1], from its (B, 1, GRID, GRID).

    A glance in doubt between haze and a pale scene says something between the two, and thin haze is
    not worth the harm that is done where there is none.
    """
    return torch.sigmoid(STEEPNESS * (THIN - transmission.mean((1, 2, 3), keepdim=True)))


def _told(cells: Tensor) -> Tensor:
    """How far pictures tell of haze at all, (B, 1, 1, 1): (B, 3, GRID, n, GRID, n) cells."""
    brightness = cells.mean((1, 3, 5)).flatten(1)
    spread = brightness.amax(1) - brightness.amin(1)
    return torch.sigmoid(STEEPNESS * (spread - FLAT))[:, None, None, None]


class Glance(nn.Module):
    """Haze from one frame; `width` channels."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(9, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.join = nn.Conv2d(3 * width, width, 1)
        self.conv3 = nn.Conv2d(width, width, 3, padding=1)
        self.thin = nn.Conv2d(width, 1, 3, padding=1)
        self.light = nn.Linear(2 * width, 3)
        # Start as a glance that sees no haze.
        nn.init.zeros_(self.thin.weight)
        nn.init.constant_(self.thin.bias, 3.0)  # type: ignore[arg-type]

    def forward(self, frame: Tensor) -> Haze:
        """Args:
        frame: (B, 3, H, W) in [0, 1], the whole frame, of any size.
        """
        cells = glimpse(frame.float()).unflatten(-1, (GRID, -1)).unflatten(-3, (GRID, -1))
        seen = torch.cat([cells.mean((-3, -1)), cells.amin((-3, -1)), cells.amax((-3, -1))], 1)
        x = activate(self.conv2(activate(self.conv1(2 * seen - 1))))
        whole = torch.cat([x.amax((2, 3)), x.amin((2, 3))], 1)
        x = torch.cat([x, whole[:, :, None, None].expand(-1, -1, GRID, GRID)], 1)
        x = activate(self.join(x))
        x = x + activate(self.conv3(x))
        share = 1 - torch.sigmoid(self.thin(x).float())
        light = self.light(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))
        transmission = 1 - (1 - T_MIN) * _told(cells) * share
        return Haze(transmission, torch.sigmoid(light.float())[:, :, None, None])
