"""Drops near the lens, out of focus: discs and rings, drawn out by their fall."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from derain.stages.data.rain.settings import LensDrops

SOFT = 1.2  # pixels over which the rim of a disc falls off


def lens_masks(
    drops: LensDrops,
    angle: float,
    times: Tensor,
    size: tuple[int, int],
    device: torch.device,
    generator: torch.Generator,
) -> Tensor:
    """(T, 1, H, W) in [0, 1]: how much light discs add.

    Args:
        drops: their number, size and fall.
        angle: of the fall, degrees from straight down.
        times: (T,) float32, in frames.
        size: height and width, pixels.
        device: where the masks are to lie.
        generator: on the CPU.
    """
    height, width = size
    margin = 2 * drops.radius + drops.fall * drops.shutter
    region = torch.tensor([width + 2 * margin, height + 2 * margin])
    # A drop crosses the image in a few frames: as many as fill the region on average.
    count = max(1, round(drops.count * float(region.prod()) / (height * width)))
    draw = torch.rand(count, 6, generator=generator)
    radius = (drops.radius * (2 / 3 + 2 / 3 * draw[:, 2])).to(device)
    fall = drops.fall * (0.6 + 0.8 * draw[:, 3])
    # The longer the way of a drop, the shorter it lights each place.
    spread = drops.radius / (drops.radius + 0.5 * drops.shutter * fall)
    lights = (drops.brightness * (0.3 + 0.7 * draw[:, 4]) * spread.sqrt()).to(device)
    down = draw[:, 1] + times[:, None] * fall / region[1]
    across = draw[:, 0] + down.floor() * (0.618 + 0.3 * draw[:, 5])
    slope = math.tan(math.radians(angle))
    down = down - down.floor()
    across = across + down * slope * region[1] / region[0]
    place = torch.stack([across - across.floor(), down], -1) * region - margin
    half = (0.5 * drops.shutter * fall)[:, None] * torch.tensor([slope, 1.0])

    ys = torch.arange(height, device=device, dtype=torch.float32)[:, None]
    xs = torch.arange(width, device=device, dtype=torch.float32)
    reach = half.to(device)
    squared = reach.square().sum(-1).clamp_min(1e-6)[:, None, None]
    masks = []
    for frame in place.to(device):  # one by one: an image for each drop takes memory
        dx = xs - frame[:, 0, None, None]
        dy = ys - frame[:, 1, None, None]
        along = (dx * reach[:, 0, None, None] + dy * reach[:, 1, None, None]) / squared
        along = along.clamp(-1, 1)
        dx, dy = dx - along * reach[:, 0, None, None], dy - along * reach[:, 1, None, None]
        distance = (dx.square() + dy.square()).sqrt()
        inside = ((radius[:, None, None] - distance) / SOFT).clamp(0, 1)
        rim = (distance / radius[:, None, None]).clamp_max(1) ** 4
        masks.append(
            (
                inside * torch.lerp(torch.ones_like(rim), rim, drops.ring) * lights[:, None, None]
            ).amax(0)
        )
    return torch.stack(masks)[:, None]
