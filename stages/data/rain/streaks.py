"""Streaks: drops of one depth that fall, drawn as motion-blurred lines frame by frame."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from derain.stages.data.rain.settings import RainSettings, StreakLayer


class Air(NamedTuple):
    """What all layers of a clip share, frame by frame. T frames.

    wind: (T,) radians from straight down. times: (T,) in frames. presence: (T,) in [0, 1], share of
    the drops that are there, as gusts come and go. camera: (T, 2) pixels, x and y, by which the
    image has moved; what falls moves with it.
    """

    wind: Tensor
    times: Tensor
    presence: Tensor
    camera: Tensor


def wander(times: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    """A slow swing around zero: a few sines of random phase, so that it is known at any time.

    Args:
        times: (T,) in frames.
        amount: to which all sines together could add up.
        generator: of the phases.
    """
    phases = torch.rand(3, generator=generator) * 2 * math.pi
    periods = torch.tensor([11.0, 37.0, 101.0])
    return amount * torch.sin(times[:, None] * 2 * math.pi / periods + phases).mean(1)


class _Streaks(NamedTuple):
    """N streaks in T frames, on the CPU. Pixels and radians."""

    place: Tensor  # (T, N, 2) x and y of the middle
    heading: Tensor  # (T, N, 2) unit vector along the streak
    brightness: Tensor  # (T, N)
    length: Tensor  # (T, N)


def _draw_streaks(
    layer: StreakLayer,
    settings: RainSettings,
    air: Air,
    size: tuple[int, int],
    generator: torch.Generator,
) -> _Streaks:
    """Draw the drops of one layer and let them fall.

    Args:
        layer: the layer.
        settings: of the clip.
        air: the clip's.
        size: height and width of the image.
        generator: on the CPU.
    """
    height, width = size
    times = air.times
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
    moved = air.camera / region
    down = home[:, 1] + times[:, None] * (fallen * torch.cos(angles) / region[1]) + moved[:, 1:]
    rounds = down.floor()
    slope = torch.tan(torch.deg2rad(torch.tensor(settings.angle)) + angles)
    # A drop that leaves below comes in above at another place: rain does not repeat itself.
    across = (
        home[:, 0]
        + moved[:, :1]
        + rounds * (0.618 + 0.3 * jump)
        + (down - moved[:, 1:] - rounds) * slope * (region[1] / region[0])
    )
    place = torch.stack([across - across.floor(), down - rounds], -1) * region - margin
    lean = air.wind[:, None] + angles
    heading = torch.stack([torch.sin(lean), torch.cos(lean)], -1)
    bright = lights * (0.85 + 0.15 * torch.sin(twinkle + times[:, None] * 1.7))
    if bool((air.presence < 1).any()):  # the same drops stay away at every lull
        bright = bright * ((air.presence[:, None] - jump) / 0.1 + 1).clamp(0, 1)
    heading, lengths, bright = _exposed(heading, lengths.expand(len(times), -1), bright, air, layer)
    return _Streaks(place, heading, bright, lengths)


def _exposed(
    heading: Tensor, lengths: Tensor, bright: Tensor, air: Air, layer: StreakLayer
) -> tuple[Tensor, Tensor, Tensor]:
    """Streaks as a moving camera sees them: drawn out along its motion, too, and so much fainter.

    Args:
        heading: (T, N, 2) unit vectors.
        lengths: (T, N) pixels.
        bright: (T, N).
        air: with the camera's path.
        layer: whose fall tells how long the shutter is open.
    """
    if len(air.camera) < 2 or not bool(air.camera.any()):
        return heading, lengths, bright
    step = air.camera.diff(dim=0)
    step = torch.cat([step[:1], step]) * min(1.0, 1 / layer.fall)
    drawn = heading * lengths[..., None] + step[:, None]
    longer = drawn.norm(dim=-1).clamp_min(layer.width)
    return drawn / longer[..., None], longer, bright * (lengths / longer).clamp(0, 1)


def streak_masks(
    layer: StreakLayer,
    settings: RainSettings,
    air: Air,
    size: tuple[int, int],
    device: torch.device,
    generator: torch.Generator,
) -> Tensor:
    """(T, 1, H, W) in [0, 1]: one layer's streaks, brightness 1 at their middle.

    Args:
        layer: coverage, length, width and fall of its streaks.
        settings: of the clip, for all its layers.
        air: wind, gusts and camera of the clip, over T frames.
        size: height and width, pixels.
        device: where the masks are to lie.
        generator: on the CPU.
    """
    streaks = _draw_streaks(layer, settings, air, size, generator)
    longest = max(layer.length * 4 / 3, float(streaks.length.max()))
    along = max(2, math.ceil(longest / 0.7))
    sigma = layer.width / 2.355
    across_steps = max(1, math.ceil(layer.width * 2) | 1)
    u = torch.linspace(-0.5, 0.5, along)
    v = torch.linspace(-1, 1, across_steps) * (1.5 * sigma if across_steps > 1 else 0.0)
    taper = (1 - (2 * u).abs() ** (6 - 5 * layer.fade)).clamp_min(0)
    profile = torch.exp(-0.5 * (v / max(sigma, 1e-3)) ** 2)
    spacing_v = float(v[1] - v[0]) if across_steps > 1 else 1.0
    weight = taper[:, None] * profile * spacing_v  # a sum over the samples near a pixel

    u, v, weight = u.to(device), v.to(device), weight.to(device)
    place, heading, bright, lengths = (x.to(device) for x in streaks)
    per_frame = lengths.shape[1] * along * across_steps * 4
    block = max(1, int(12_000_000 // per_frame))
    masks = []
    for k in range(0, len(place), block):
        part = slice(k, k + block)
        masks.append(
            _splat(
                _Streaks(place[part], heading[part], bright[part], lengths[part]),
                u,
                v,
                weight,
                size,
            )
        )
    mask = torch.cat(masks)[:, None]
    if layer.blur > 0:
        mask = _gaussian_blur(mask, layer.blur)
    return 1 - torch.exp(-1.3 * mask)


def _splat(
    streaks: _Streaks,
    u: Tensor,
    v: Tensor,
    weight: Tensor,
    size: tuple[int, int],
) -> Tensor:
    """Scatter every streak's samples bilinearly: (T, H, W) brightness.

    Args:
        streaks: of T frames.
        u: (U,) places along a streak, in its lengths.
        v: (V,) places across, pixels.
        weight: (U, V), of the samples.
        size: height and width, pixels.
    """
    place, heading, bright, lengths = streaks
    height, width = size
    frames = place.shape[0]
    side = torch.stack([-heading[..., 1], heading[..., 0]], -1)
    reach = (u * lengths[..., None])[..., None, None]
    points = (
        place[:, :, None, None]
        + heading[:, :, None, None] * reach
        + side[:, :, None, None] * v[:, None]
    )
    spacing = lengths / (len(u) - 1)
    values = bright[:, :, None, None] * weight * spacing[:, :, None, None]
    base = points.floor()
    part = points - base
    # A border of one pixel takes what lies outside, which costs less than sorting it out.
    wide, high = width + 2, height + 2
    x, y = base[..., 0].long() + 1, base[..., 1].long() + 1
    frame = torch.arange(frames, device=place.device).view(-1, 1, 1, 1) * (high * wide)
    canvas = place.new_zeros(frames * high * wide)
    for dx in (0, 1):
        for dy in (0, 1):
            px, py = (x + dx).clamp(0, wide - 1), (y + dy).clamp(0, high - 1)
            share = (part[..., 0] if dx else 1 - part[..., 0]) * (
                part[..., 1] if dy else 1 - part[..., 1]
            )
            canvas.index_add_(0, (frame + py * wide + px).flatten(), (values * share).flatten())
    return canvas.view(frames, high, wide)[:, 1:-1, 1:-1].contiguous()


def _gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    radius = max(1, math.ceil(2.5 * sigma))
    x = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype)
    kernel = torch.exp(-0.5 * (x / sigma) ** 2)
    kernel = kernel / kernel.sum()
    image = F.conv2d(image, kernel.view(1, 1, 1, -1), padding=(0, radius))
    return F.conv2d(image, kernel.view(1, 1, -1, 1), padding=(radius, 0))
