"""Rendering: layers of rain put before a clean clip.

The equation is that of models/ops/scattering.py: I = (1 - a) (t B + (1 - t) A + S) + a M. Drops are
particles with a place, a size and a fall; each frame draws them as motion-blurred streaks, so rain
moves consistently from frame to frame. Everything is vectorised torch and runs where the clip is.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from derain.models.ops.scattering import compose_rain
from derain.stages.data.rain.lens import lens_masks
from derain.stages.data.rain.light import haze_map, lamp_light, scene_light, sheet_map
from derain.stages.data.rain.settings import RainSettings
from derain.stages.data.rain.streaks import Air, streak_masks, wander

FAR = 30.0  # pixels of a streak below which it is far rain, that sheets are made of


class Rain(NamedTuple):
    """A rainy clip and its layers, float32. T frames of H x W."""

    rainy: Tensor  # (T, 3, H, W) in [0, 1]
    streaks: Tensor  # (T, 3, H, W), S >= 0
    occlusion: Tensor  # (T, 1, H, W), a in [0, 1]
    drops: Tensor  # (1, 3, 1, 1), M
    transmission: Tensor  # (T, 1, H, W), t in [haze_floor, 1]
    airlight: Tensor  # (1, 3, 1, 1), A


def render_rain(
    clean: Tensor,
    settings: RainSettings,
    seed: int,
    start: int = 0,
    camera: Tensor | None = None,
) -> Rain:
    """Render rain on a clean clip.

    Args:
        clean: (T, 3, H, W) float32 in [0, 1].
        settings: of the rain.
        seed: the same seed and settings give the same rain; on a GPU but for the last bits.
        start: index of the first frame, so that a long clip can be rendered in pieces.
        camera: (T, 2) pixels, x and y, by which the image has moved since some frame; rain moves
            with it. None for a camera that stands.
    """
    frames, _, height, width = clean.shape
    size, device = (height, width), clean.device
    generator = torch.Generator().manual_seed(seed)
    # Of its own, so that what was drawn before there were gusts and lamps stays as it was.
    more = torch.Generator().manual_seed(seed ^ 0x5EED)
    times = torch.arange(start, start + frames, dtype=torch.float32)
    air = Air(
        wind=math.radians(settings.angle) + wander(times, math.radians(settings.gust), generator),
        times=times,
        presence=1 - settings.surge * (0.5 + wander(times, 0.8, more)).clamp(0, 1),
        camera=torch.zeros(frames, 2) if camera is None else camera,
    )
    sheets = sheet_map(settings, times, size, more).to(device) if settings.sheets else None
    airlight = clean.new_tensor(settings.airlight).view(1, 3, 1, 1)
    glow = scene_light(clean, settings.glow, airlight)
    seen = clean.new_ones(())  # share of what hides the scene that is lit
    if settings.lamps:
        lit = lamp_light(clean, more)
        glow = torch.lerp(glow, airlight * lit, settings.lamps)
        seen = torch.lerp(torch.ones_like(lit), lit, settings.lamps)

    streaks = clean.new_zeros((frames, 1, height, width))
    clear = clean.new_ones((frames, 1, height, width))
    for layer in settings.layers:
        mask = streak_masks(layer, settings, air, size, device, generator)
        if sheets is not None and layer.length < FAR:
            mask = mask * (0.3 + 1.2 * sheets).clamp_max(1)
        light = min(1.0, layer.brightness * settings.strength)
        streaks = streaks + mask * (light * (1 - layer.opaque))
        clear = clear * (1 - mask * seen * (light * layer.opaque)).clamp(0, 1)
    if sheets is not None:
        streaks = streaks + settings.sheets * settings.strength * sheets
    if settings.lens is not None:
        discs = lens_masks(settings.lens, settings.angle, times, size, device, more)
        streaks = streaks + settings.strength * discs

    transmission = haze_map(settings, times, size, device, generator)
    occlusion = 1 - clear
    streak_layer = streaks.clamp_max(1) * glow
    drops = airlight
    rainy = compose_rain(clean, transmission, airlight, streak_layer, occlusion, drops).clamp(0, 1)
    return Rain(rainy, streak_layer, occlusion, drops, transmission, airlight)
