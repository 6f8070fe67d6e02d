"""The light that rain takes, and the air before the scene: glow, lamps at night, sheets, haze."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from derain.stages.data.rain.settings import RainSettings

CELL = 24  # pixels of the coarse grid on which light spreads
LAMP = 0.6  # grey level in [0, 1] from which on a part of the scene lights the rain around it
CONES = 3  # at most, of lamps that the image does not show
UNLIT = 0.04  # share of the light that is left between lamps


def scene_light(clean: Tensor, glow: float, airlight: Tensor) -> Tensor:
    """(T, 3, H, W): the light that drops refract: the scene around them, and the sky.

    Args:
        clean: (T, 3, H, W) in [0, 1].
        glow: share of the sky in the light of a drop, in [0, 1], as in `RainSettings`.
        airlight: (1, 3, 1, 1).
    """
    height, width = clean.shape[-2:]
    small = F.adaptive_avg_pool2d(clean, (max(1, height // CELL), max(1, width // CELL)))
    around = F.interpolate(small, (height, width), mode="bilinear", align_corners=False)
    # Drops gather light from a wide angle: brighter than what is behind, dark at night.
    sky = airlight * clean.mean((0, 1, 2, 3)).mul(1.8).clamp(0.15, 1.0)
    return torch.lerp((around * 1.3).clamp_max(1), sky.expand_as(around), glow)


def lamp_light(clean: Tensor, generator: torch.Generator) -> Tensor:
    """(T, 1, H, W) in [UNLIT, 1]: how much light of lamps, seen or not, falls on the rain.

    Args:
        clean: (T, 3, H, W) in [0, 1].
        generator: on the CPU.
    """
    height, width = clean.shape[-2:]
    cones = _cones((height, width), generator).to(clean.device)
    return torch.maximum(_halos(clean), cones).clamp(UNLIT, 1)


def _halos(clean: Tensor) -> Tensor:
    """(T, 1, H, W) in [0, 1]: the light of bright parts, around them and below."""
    height, width = clean.shape[-2:]
    size = (max(1, height // CELL), max(1, width // CELL))
    bright = ((clean.amax(1, keepdim=True) - LAMP) / (1 - LAMP)).clamp(0, 1)
    spots = F.adaptive_avg_pool2d(bright, size).mul(4).clamp_max(1)
    halo = F.avg_pool2d(F.pad(spots, (1, 1, 3, 1), mode="replicate"), (5, 3), stride=1)
    near = torch.maximum(spots, (6 * halo).clamp_max(1))
    return F.interpolate(near, (height, width), mode="bilinear", align_corners=False)


def _cones(size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """(1, 1, H, W) in [0, 1]: cones of light below up to CONES lamps."""
    height, width = size
    ys = torch.arange(height)[:, None] / height
    xs = torch.arange(width) / height
    lit = torch.zeros(1, 1, height, width)
    for _ in range(int(torch.randint(CONES + 1, (), generator=generator))):
        draw = torch.rand(5, generator=generator)
        x, y = (float(draw[0]) * 1.4 - 0.2) * width / height, float(draw[1]) * 0.9 - 0.4
        down = ys - y
        across = (xs - x - (float(draw[2]) - 0.5) * down).abs()
        spread = 0.25 + 0.6 * float(draw[3])
        inside = ((spread * down - across) / 0.08).clamp(0, 1)
        lit = torch.maximum(lit, inside * torch.exp(-down / (0.3 + float(draw[4]))))
    return lit


def sheet_map(
    settings: RainSettings, times: Tensor, size: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """Sheets of far rain that sweep over the image with the wind: (T, 1, H, W) in [0, 1].

    Args:
        settings: of which the angle of the fall counts: sheets hang along it.
        times: (T,) float32, in frames.
        size: height and width, pixels.
        generator: on the CPU.
    """
    height, width = size
    noise = torch.rand(1, 1, 7, 9, generator=generator)
    speed = 0.02 + 0.08 * torch.rand((), generator=generator)
    lean = math.radians(settings.angle)
    heading = torch.tensor([math.sin(lean) + 0.5 * math.copysign(1, lean), 0.7 * math.cos(lean)])
    ys = torch.linspace(-0.35, 0.35, height)[:, None].expand(height, width)
    xs = torch.linspace(-0.6, 0.6, width).expand(height, width)
    xs = xs - ys * math.tan(lean)  # sheets hang along the fall
    grid = torch.stack([xs, ys], -1) - (times[:, None] * speed * heading)[:, None, None]
    # Reflected noise repeats itself after two widths, many frames later.
    sheets = F.grid_sample(
        noise.expand(len(times), -1, -1, -1),
        grid,
        mode="bicubic",
        padding_mode="reflection",
        align_corners=False,
    )
    return ((sheets - 0.35) * 2).clamp(0, 1)


def haze_map(
    settings: RainSettings,
    times: Tensor,
    size: tuple[int, int],
    device: torch.device,
    generator: torch.Generator,
) -> Tensor:
    """The transmission of haze with slow clouds, thicker towards the top: (T, 1, H, W), to 1.

    Args:
        settings: optical thickness and floor.
        times: (T,) float32, in frames.
        size: height and width, pixels.
        device: where the map is to lie.
        generator: on the CPU.
    """
    height, width = size
    noise = torch.rand(1, 1, 5, 7, generator=generator)
    drift = (torch.rand(2, generator=generator) - 0.5) * 0.01
    near = 0.15 + 0.35 * torch.rand((), generator=generator)
    if settings.haze <= 0:
        return torch.ones((len(times), 1, height, width), device=device)
    ys = torch.linspace(-0.6, 0.6, height)[:, None].expand(height, width)
    xs = torch.linspace(-0.6, 0.6, width).expand(height, width)
    grid = torch.stack([xs, ys], -1) + (times[:, None] * drift)[:, None, None]
    clouds = F.grid_sample(
        noise.expand(len(times), -1, -1, -1),
        grid,
        mode="bicubic",
        padding_mode="reflection",
        align_corners=False,
    )
    height_share = torch.linspace(1, 0, height)[:, None]
    depth = near + (1 - near) * (0.65 * height_share + 0.35 * clouds.clamp(0, 1))
    return torch.exp(-settings.haze * depth).clamp(settings.haze_floor, 1).to(device)
