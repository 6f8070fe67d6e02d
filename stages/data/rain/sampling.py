"""Rain drawn at random from wide ranges, as training wants it."""

from __future__ import annotations

import math

import torch

from derain.stages.data.rain.settings import LensDrops, RainSettings, StreakLayer


class Ranges:
    """Numbers drawn from a generator."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def uniform(self, low: float, high: float) -> float:
        """A number between the two."""
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def log_uniform(self, low: float, high: float) -> float:
        """A number between the two, whose logarithm is uniform."""
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def chance(self, share: float) -> bool:
        """True in this share of the draws."""
        return self.uniform(0, 1) < share


def sample_settings(
    generator: torch.Generator, *, haze_prob: float = 0.5, snow_prob: float = 0.0
) -> RainSettings:
    """Draw settings from wide ranges, for images of about 400 lines.

    Args:
        generator: what is random.
        haze_prob: share of the draws that have haze.
        snow_prob: share in which snow falls, alone or with rain.
    """
    draw = Ranges(generator)
    snows = draw.chance(snow_prob)
    layers = _snow(draw) if snows else ()
    if not snows or draw.chance(0.3):
        layers += _rain(draw)
    grey, tint = draw.uniform(0.55, 0.98), draw.uniform(-0.04, 0.04)
    # Haze or none, nothing in between: what cannot be told from a pale scene must be left alone.
    haze = draw.uniform(0.45, 1.5) if draw.chance(haze_prob) else 0.0
    return RainSettings(
        layers=layers,
        angle=draw.uniform(-1, 1) * draw.uniform(0, 40),
        gust=draw.uniform(0, 4),
        scatter=draw.uniform(10, 35) if snows else draw.uniform(0.3, 5),
        glow=draw.uniform(0.3, 1.0),
        haze=haze,
        airlight=(grey - tint, grey, min(1.0, grey + tint)),
        surge=draw.uniform(0.3, 1.0) if draw.chance(0.35) else 0.0,
        sheets=draw.log_uniform(0.01, 0.08) if draw.chance(0.12) else 0.0,
        lens=_lens(draw) if draw.chance(0.08) else None,
    )


def _rain(draw: Ranges) -> tuple[StreakLayer, ...]:
    """Up to six layers of streaks."""
    layers = []
    if draw.chance(0.12):  # dense, fine and faint
        length = draw.log_uniform(4, 16)
        coverage, brightness = draw.uniform(0.1, 0.3), draw.log_uniform(0.05, 0.4)
        layers.append(StreakLayer(coverage, length, 0.8, brightness, 0.0, draw.uniform(1, 4), 0.0))
    if draw.chance(0.12):  # near the lens: long, wide and out of focus
        length, width = draw.log_uniform(30, 120), draw.uniform(2.0, 7.0)
        coverage, brightness = draw.log_uniform(0.003, 0.05), draw.log_uniform(0.1, 0.8)
        fall, blur = draw.uniform(1.0, 4.0), draw.uniform(0.5, 3.0)
        opaque, fade = draw.uniform(0, 1), draw.uniform(0, 1)
        layers.append(StreakLayer(coverage, length, width, brightness, opaque, fall, blur, fade))
    for _ in range(1 + int(draw.uniform(0, 4))):
        length = draw.log_uniform(6, 80)
        width = draw.uniform(0.7, 1.2) if draw.chance(0.6) else draw.uniform(1.0, 3.0)
        layers.append(
            StreakLayer(
                coverage=draw.log_uniform(0.003, 0.12),
                length=length,
                width=max(0.7, min(width, length / 5)),
                brightness=draw.log_uniform(0.06, 1.2),
                opaque=draw.uniform(0, 1) if draw.chance(0.5) else 0.0,
                fall=draw.uniform(0.8, 4.0),
                blur=draw.uniform(0.5, 2.0) if draw.chance(0.25) else 0.0,
                fade=draw.uniform(0, 1) if draw.chance(0.5) else 0.0,
            )
        )
    return tuple(layers)


def _snow(draw: Ranges) -> tuple[StreakLayer, ...]:
    """Flakes at up to three depths: about as long as wide, slow, and hiding what is behind."""
    layers = []
    for _ in range(1 + int(draw.uniform(0, 3))):
        width = draw.log_uniform(1.2, 6.0)
        layers.append(
            StreakLayer(
                coverage=draw.log_uniform(0.003, 0.04),
                length=width * draw.log_uniform(1.0, 2.5),
                width=width,
                brightness=draw.uniform(0.4, 1.2),
                opaque=draw.uniform(0.4, 1),
                fall=draw.log_uniform(0.8, 4.0),
                blur=draw.uniform(0, 1.5) if width > 3 else 0.0,
                fade=1.0,
            )
        )
    return tuple(layers)


def _lens(draw: Ranges) -> LensDrops:
    """Discs, some of them rings, some drawn out by a long exposure."""
    return LensDrops(
        count=draw.log_uniform(1, 10),
        radius=draw.log_uniform(2.5, 10),
        brightness=draw.log_uniform(0.06, 0.5),
        ring=draw.uniform(0, 1),
        fall=draw.log_uniform(15, 120),
        shutter=draw.uniform(0.02, 0.6),
    )
