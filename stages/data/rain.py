"""The rain model: renders rain on clean clips and gives every layer as a training target.

The equation is that of models/ops/scattering.py: I = (1 - a) (t B + (1 - t) A + S) + a M. Drops are
particles with a place, a size and a fall; each frame draws them as motion-blurred streaks, so rain
moves consistently from frame to frame. Everything is vectorised torch and runs where the clip is.
Reading clips belongs to rendered_clips.py, camera artefacts to augment.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from derain.models.ops.scattering import compose_rain


@dataclass(frozen=True, slots=True)
class StreakLayer:
    """Rain at one depth. Lengths in pixels, angles in degrees."""

    coverage: float  # share of the image under streaks in one frame, before `density`
    length: float  # of a streak; drops differ by a third
    width: float  # across, full width at half brightness
    brightness: float  # of the streak at its middle, 0 to 1, before `strength`
    opaque: float  # share that hides the scene (occlusion) instead of adding light, 0 to 1
    fall: float  # lengths fallen from frame to frame; 1 / shutter share
    blur: float  # out-of-focus sigma


@dataclass(frozen=True, slots=True)
class RainSettings:
    """All that describes the rain of one clip; what is random is drawn from the seed."""

    layers: tuple[StreakLayer, ...]
    angle: float = 0.0  # of the fall, degrees from straight down, right positive
    gust: float = 2.0  # degrees by which the wind swings over time
    scatter: float = 2.0  # degrees by which drops differ
    glow: float = 0.5  # 0: streaks take the light of the scene behind, 1: of the sky
    density: float = 1.0  # scales the number of drops
    strength: float = 1.0  # scales the brightness of streaks
    haze: float = 0.0  # optical thickness at the far end; 0 is none
    airlight: tuple[float, float, float] = (0.8, 0.8, 0.8)
    haze_floor: float = 0.3  # transmission never falls below

    def scaled(self, factor: float) -> RainSettings:
        """The same rain for an image `factor` times as large."""
        layers = tuple(
            replace(x, length=x.length * factor, width=x.width * factor, blur=x.blur * factor)
            for x in self.layers
        )
        return replace(self, layers=layers)


class Rain(NamedTuple):
    """A rainy clip and its layers, float32. T frames of H x W."""

    rainy: Tensor  # (T, 3, H, W) in [0, 1]
    streaks: Tensor  # (T, 3, H, W), S >= 0
    occlusion: Tensor  # (T, 1, H, W), a in [0, 1]
    drops: Tensor  # (1, 3, 1, 1), M
    transmission: Tensor  # (T, 1, H, W), t in [haze_floor, 1]
    airlight: Tensor  # (1, 3, 1, 1), A


def sample_settings(generator: torch.Generator, *, haze_prob: float = 0.5) -> RainSettings:
    """Draw settings from wide ranges, for images of about 400 lines.

    Args:
        haze_prob: share of the draws that have haze.
    """

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    def log_uniform(low: float, high: float) -> float:
        return math.exp(uniform(math.log(low), math.log(high)))

    layers = []
    if uniform(0, 1) < 0.12:  # dense, fine and faint
        length = log_uniform(4, 16)
        coverage, brightness = uniform(0.1, 0.3), log_uniform(0.05, 0.4)
        layers.append(StreakLayer(coverage, length, 0.8, brightness, 0.0, uniform(1, 4), 0.0))
    if uniform(0, 1) < 0.12:  # near the lens: long, wide and out of focus
        length, width = log_uniform(30, 120), uniform(2.0, 7.0)
        coverage, brightness = log_uniform(0.003, 0.05), log_uniform(0.1, 0.8)
        fall, blur = uniform(1.0, 4.0), uniform(0.5, 3.0)
        opaque = uniform(0, 1)
        layers.append(StreakLayer(coverage, length, width, brightness, opaque, fall, blur))
    for _ in range(1 + int(uniform(0, 4))):
        length = log_uniform(6, 80)
        width = uniform(0.7, 1.2) if uniform(0, 1) < 0.6 else uniform(1.0, 3.0)
        layers.append(
            StreakLayer(
                coverage=log_uniform(0.003, 0.12),
                length=length,
                width=max(0.7, min(width, length / 5)),
                brightness=log_uniform(0.06, 1.2),
                opaque=uniform(0, 1) if uniform(0, 1) < 0.5 else 0.0,
                fall=uniform(0.8, 4.0),
                blur=uniform(0.5, 2.0) if uniform(0, 1) < 0.25 else 0.0,
            )
        )
    grey, tint = uniform(0.55, 0.98), uniform(-0.04, 0.04)
    # Haze or none, nothing in between: what cannot be told from a pale scene must be left alone.
    haze = uniform(0.45, 1.5) if uniform(0, 1) < haze_prob else 0.0
    return RainSettings(
        layers=tuple(layers),
        angle=uniform(-1, 1) * uniform(0, 40),
        gust=uniform(0, 4),
        scatter=uniform(0.3, 5),
        glow=uniform(0.3, 1.0),
        haze=haze,
        airlight=(grey - tint, grey, min(1.0, grey + tint)),
    )


def render_rain(clean: Tensor, settings: RainSettings, seed: int, start: int = 0) -> Rain:
    """Render rain on a clean clip.

    Args:
        clean: (T, 3, H, W) float32 in [0, 1].
        settings: of the rain.
        seed: the same seed and settings give the same rain; on a GPU but for the last bits.
        start: index of the first frame, so that a long clip can be rendered in pieces.
    """
    frames, _, height, width = clean.shape
    device = clean.device
    generator = torch.Generator().manual_seed(seed)
    times = torch.arange(start, start + frames, dtype=torch.float32)
    wind = math.radians(settings.angle) + _wander(times, math.radians(settings.gust), generator)

    streaks = clean.new_zeros((frames, 1, height, width))
    clear = clean.new_ones((frames, 1, height, width))
    for layer in settings.layers:
        mask = _streak_masks(layer, settings, wind, times, (height, width), device, generator)
        light = min(1.0, layer.brightness * settings.strength)
        streaks = streaks + mask * (light * (1 - layer.opaque))
        clear = clear * (1 - mask * (light * layer.opaque)).clamp(0, 1)

    airlight = clean.new_tensor(settings.airlight).view(1, 3, 1, 1)
    glow = _scene_light(clean, settings.glow, airlight)
    transmission = haze_map(settings, times, (height, width), device, generator)
    occlusion = 1 - clear
    streak_layer = streaks.clamp_max(1) * glow
    drops = airlight
    rainy = compose_rain(clean, transmission, airlight, streak_layer, occlusion, drops).clamp(0, 1)
    return Rain(rainy, streak_layer, occlusion, drops, transmission, airlight)


def _wander(times: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    """A slow swing around zero: a few sines of random phase, so that it is known at any time."""
    phases = torch.rand(3, generator=generator) * 2 * math.pi
    periods = torch.tensor([11.0, 37.0, 101.0])
    return amount * torch.sin(times[:, None] * 2 * math.pi / periods + phases).mean(1)


class _Streaks(NamedTuple):
    """N streaks in T frames, on the CPU. Pixels and radians."""

    place: Tensor  # (T, N, 2) x and y of the middle
    heading: Tensor  # (T, N, 2) unit vector along the streak
    brightness: Tensor  # (T, N)
    length: Tensor  # (N,)


def _draw_streaks(
    layer: StreakLayer,
    settings: RainSettings,
    wind: Tensor,
    times: Tensor,
    size: tuple[int, int],
    generator: torch.Generator,
) -> _Streaks:
    """Draw the drops of one layer and let them fall.

    Args:
        layer: the layer.
        settings: of the clip.
        wind: (T,) radians from straight down.
        times: (T,) in frames.
        size: height and width of the image.
        generator: on the CPU.
    """
    height, width = size
    margin = layer.length + 4 * layer.width
    region = torch.tensor([width + 2 * margin, height + 2 * margin])
    area = float(region[0] * region[1])
    share = layer.coverage * settings.density
    count = max(1, round(share * area / (layer.length * layer.width)))

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    home, jump = draw(count, 2), draw(count)
    lengths = layer.length * (2 / 3 + 2 / 3 * draw(count))
    angles = math.radians(settings.scatter) * (2 * draw(count) - 1)
    lights = 0.4 + 0.6 * draw(count)
    twinkle = draw(count) * 2 * math.pi

    # The fall is summed over the clip in closed form, so a piece can start anywhere.
    fallen = layer.length * layer.fall * (0.8 + 0.4 * draw(count))
    down = home[:, 1] + times[:, None] * (fallen * torch.cos(angles) / region[1])
    rounds = down.floor()
    slope = torch.tan(torch.deg2rad(torch.tensor(settings.angle)) + angles)
    # A drop that leaves below comes in above at another place: rain does not repeat itself.
    across = (
        home[:, 0]
        + rounds * (0.618 + 0.3 * jump)
        + (down - rounds) * slope * (region[1] / region[0])
    )
    place = torch.stack([across - across.floor(), down - rounds], -1) * region - margin
    lean = wind[:, None] + angles
    heading = torch.stack([torch.sin(lean), torch.cos(lean)], -1)
    bright = lights * (0.85 + 0.15 * torch.sin(twinkle + times[:, None] * 1.7))
    return _Streaks(place, heading, bright, lengths)


def _streak_masks(
    layer: StreakLayer,
    settings: RainSettings,
    wind: Tensor,
    times: Tensor,
    size: tuple[int, int],
    device: torch.device,
    generator: torch.Generator,
) -> Tensor:
    """(T, 1, H, W) in [0, 1]: one layer's streaks, brightness 1 at their middle."""
    streaks = _draw_streaks(layer, settings, wind, times, size, generator)
    along = max(2, math.ceil(layer.length * 4 / 3 / 0.7))
    sigma = layer.width / 2.355
    across_steps = max(1, math.ceil(layer.width * 2) | 1)
    u = torch.linspace(-0.5, 0.5, along)
    v = torch.linspace(-1, 1, across_steps) * (1.5 * sigma if across_steps > 1 else 0.0)
    taper = (1 - (2 * u).abs() ** 6).clamp_min(0)
    profile = torch.exp(-0.5 * (v / max(sigma, 1e-3)) ** 2)
    spacing_v = float(v[1] - v[0]) if across_steps > 1 else 1.0
    weight = taper[:, None] * profile * spacing_v  # a sum over the samples near a pixel

    u, v, weight = u.to(device), v.to(device), weight.to(device)
    place, heading, bright, lengths = (x.to(device) for x in streaks)
    per_frame = len(lengths) * along * across_steps * 4
    block = max(1, int(12_000_000 // per_frame))
    masks = []
    for k in range(0, len(times), block):
        part = slice(k, k + block)
        masks.append(_splat(place[part], heading[part], bright[part], lengths, u, v, weight, size))
    mask = torch.cat(masks)[:, None]
    if layer.blur > 0:
        mask = _gaussian_blur(mask, layer.blur)
    return 1 - torch.exp(-1.3 * mask)


def _splat(
    place: Tensor,
    heading: Tensor,
    bright: Tensor,
    lengths: Tensor,
    u: Tensor,
    v: Tensor,
    weight: Tensor,
    size: tuple[int, int],
) -> Tensor:
    """Scatter every streak's samples bilinearly: (T, N, 2) places -> (T, H, W) brightness."""
    height, width = size
    frames = place.shape[0]
    side = torch.stack([-heading[..., 1], heading[..., 0]], -1)
    reach = (u[None, :] * lengths[:, None])[None, :, :, None, None]
    points = (
        place[:, :, None, None]
        + heading[:, :, None, None] * reach
        + side[:, :, None, None] * v[:, None]
    )
    spacing = lengths / (len(u) - 1)
    values = bright[:, :, None, None] * weight * spacing[None, :, None, None]
    base = points.floor()
    part = points - base
    x, y = base[..., 0].long(), base[..., 1].long()
    frame = torch.arange(frames, device=place.device).view(-1, 1, 1, 1) * (height * width)
    canvas = place.new_zeros(frames * height * width)
    for dx in (0, 1):
        for dy in (0, 1):
            px, py = x + dx, y + dy
            share = (part[..., 0] if dx else 1 - part[..., 0]) * (
                part[..., 1] if dy else 1 - part[..., 1]
            )
            inside = (px >= 0) & (px < width) & (py >= 0) & (py < height)
            index = (frame + py * width + px)[inside]
            canvas.index_add_(0, index, (values * share)[inside])
    return canvas.view(frames, height, width)


def _gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    radius = max(1, math.ceil(2.5 * sigma))
    x = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype)
    kernel = torch.exp(-0.5 * (x / sigma) ** 2)
    kernel = kernel / kernel.sum()
    image = F.conv2d(image, kernel.view(1, 1, 1, -1), padding=(0, radius))
    return F.conv2d(image, kernel.view(1, 1, -1, 1), padding=(radius, 0))


def _scene_light(clean: Tensor, glow: float, airlight: Tensor) -> Tensor:
    """(T, 3, H, W): the light that drops refract: the scene around them, and the sky."""
    height, width = clean.shape[-2:]
    small = F.adaptive_avg_pool2d(clean, (max(1, height // 24), max(1, width // 24)))
    around = F.interpolate(small, (height, width), mode="bilinear", align_corners=False)
    # Drops gather light from a wide angle: brighter than what is behind, dark at night.
    sky = airlight * clean.mean((0, 1, 2, 3)).mul(1.8).clamp(0.15, 1.0)
    return torch.lerp((around * 1.3).clamp_max(1), sky.expand_as(around), glow)


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
