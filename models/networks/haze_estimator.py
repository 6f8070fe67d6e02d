"""The haze estimator: how thick the haze of a whole frame is, and what colour.

Haze cannot be told from a pale scene by looking at a part of it. What gives it away is the whole:
nearly every scene has something dark in it (the dark channel of He et al., CVPR 2009), and under
haze nothing is; things that stand out from what is beside them stand out less. So the estimator
sees the darkest, mean and brightest values of a coarse grid over the frame, which haze changes in
the same way as it changes pixels, and their contrast, which it thins; it compares each cell with
the whole a few times over, and gives transmission on that grid and one airlight. A wall, a sky or
a fade to white has nothing dark either: what is equally bright everywhere tells nothing, and
stays.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from derain.models.ops.layers import leaky_relu, start_at
from derain.models.ops.scattering import T_MIN

GRID = 16  # cells on each side
THIN = 0.82  # mean transmission above which haze is left alone
FLAT = 0.2  # spread of the cells' brightness below which an image tells nothing of haze
STEEPNESS = 50.0  # of the change at THIN and at FLAT
FINE = 128  # pixels on each side of the image from which the cells take their extremes
ROUNDS = 3  # of comparing each cell with the whole


class Haze(NamedTuple):
    """transmission: (B, 1, GRID, GRID) in [T_MIN, 1]. airlight: (B, 3, 1, 1) in [0, 1]."""

    transmission: Tensor
    airlight: Tensor


def thumbnail(frame: Tensor) -> Tensor:
    """(B, 3, H, W) of any size -> (B, 3, FINE, FINE): means, so that no grain is an extreme."""
    return F.adaptive_avg_pool2d(frame, FINE)


def full_size(transmission: Tensor, height: int, width: int) -> Tensor:
    """Transmission of the grid -> (B, 1, H, W).

    Args:
        transmission: (B, 1, GRID, GRID).
        height: of the frame, pixels.
        width: of the frame, pixels.
    """
    return F.interpolate(transmission, (height, width), mode="bilinear", align_corners=False)


def haze_confidence(transmission: Tensor) -> Tensor:
    """Confidence that there is haze, (B, 1, 1, 1) in [0, 1], from its (B, 1, GRID, GRID).

    In doubt between haze and a pale scene the estimate lies between the two, and thin haze is not
    worth the harm that is done where there is none.
    """
    return torch.sigmoid(STEEPNESS * (THIN - transmission.mean((1, 2, 3), keepdim=True)))


def weigh_by_confidence(seen: Haze) -> Haze:
    """A haze estimate weighed by its confidence: less of it where there is doubt."""
    return seen._replace(
        transmission=1 - haze_confidence(seen.transmission) * (1 - seen.transmission)
    )


def _contrast_confidence(mean: Tensor) -> Tensor:
    """Confidence that haze can be judged at all, (B, 1, 1, 1), from cells (B, 3, GRID, GRID)."""
    brightness = mean.mean(1).flatten(1)
    spread = brightness.amax(1) - brightness.amin(1)
    return torch.sigmoid(STEEPNESS * (spread - FLAT))[:, None, None, None]


def _seen(small: Tensor) -> tuple[Tensor, Tensor]:
    """Features of a thumbnail (B, 3, FINE, FINE).

    Returns:
        Mean, darkest, brightest, spread and edges of each cell, and its height in the image,
        about -1 to 1, (B, 16, GRID, GRID); and `_contrast_confidence`.
    """
    small = small.contiguous()
    pool = partial(F.avg_pool2d, kernel_size=FINE // GRID)
    across = F.pad((small[..., 1:] - small[..., :-1]).abs(), (0, 1))
    down = F.pad((small[..., 1:, :] - small[..., :-1, :]).abs(), (0, 0, 0, 1))
    mean, edges = pool(small), pool(across + down)
    spread = (pool(small.square()) - mean.square()).clamp_min(1e-8).sqrt()
    cells = small.unflatten(-1, (GRID, -1)).unflatten(-3, (GRID, -1))
    levels = torch.cat([mean, cells.amin((-3, -1)), cells.amax((-3, -1))], 1)
    height = torch.linspace(-1, 1, GRID, device=small.device)[:, None].expand(GRID, GRID)
    height = height.expand(len(small), 1, -1, -1)
    return torch.cat(
        [2 * levels - 1, 20 * spread - 2, 20 * edges - 1, height], 1
    ), _contrast_confidence(mean)


class HazeEstimator(nn.Module):
    """Haze from one frame; `width` channels."""

    def __init__(self, width: int = 44) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(16, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.join = nn.Conv2d(3 * width, width, 1)
        self.conv3 = nn.Conv2d(width, width, 3, padding=1)
        self.thin = nn.Conv2d(width, 1, 3, padding=1)
        self.light = nn.Linear(2 * width, 3)
        # Start as an estimator that finds no haze.
        start_at(self.thin, 3.0)

    def forward(self, frame: Tensor) -> Haze:
        """What is seen in a frame and in its mirror image, on average: the haze of both is one.

        In training the frame alone is judged.

        Args:
            frame: (B, 3, H, W) in [0, 1], the whole frame, of any size.
        """
        seen, told = _seen(thumbnail(frame.float()))
        if self.training:
            share, light = self._judge(seen)
        else:
            shares, lights = self._judge(torch.cat([seen, seen.flip(-1)]))
            (share, mirrored), (light, same) = shares.chunk(2), lights.chunk(2)
            share, light = (share + mirrored.flip(-1)) / 2, (light + same) / 2
        return Haze(1 - (1 - T_MIN) * told * share, light[:, :, None, None])

    def _judge(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Share of the light that haze takes, (B, 1, GRID, GRID), and airlight, (B, 3)."""
        x = leaky_relu(self.conv2(leaky_relu(self.conv1(seen))))
        for _ in range(ROUNDS):
            whole = torch.cat([x.amax((2, 3)), x.amin((2, 3))], 1)
            joined = torch.cat([x, whole[:, :, None, None].expand(-1, -1, GRID, GRID)], 1)
            compared = leaky_relu(self.join(joined))
            x = x + compared + leaky_relu(self.conv3(compared))
        share = 1 - torch.sigmoid(self.thin(x).float())
        light = self.light(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))
        return share, torch.sigmoid(light.float())
