"""What describes the rain of a clip: layers of streaks, wind, gusts, light, haze."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class StreakLayer:
    """Rain at one depth. Lengths in pixels, angles in degrees.

    A layer whose drops are about as long as wide, fall slowly and scatter is snow.
    """

    coverage: float  # share of the image under streaks in one frame, before `density`
    length: float  # of a streak; drops differ by a third
    width: float  # across, full width at half brightness
    brightness: float  # of the streak at its middle, 0 to 1, before `strength`
    opaque: float  # share that hides the scene (occlusion) instead of adding light, 0 to 1
    fall: float  # lengths fallen from frame to frame; 1 / shutter share
    blur: float  # out-of-focus sigma
    fade: float = 0.0  # 0: as bright to its ends, 1: fades from the middle on


@dataclass(frozen=True, slots=True)
class LensDrops:
    """Drops before the plane of focus: discs, drawn out by their fall. Lengths in pixels."""

    count: float  # in the image at a time, on average
    radius: float  # of the disc; drops differ by a third
    brightness: float  # 0 to 1
    ring: float = 0.0  # 0: even discs, 1: rims alone
    fall: float = 40.0  # pixels from frame to frame
    shutter: float = 0.3  # share of a frame that they are seen falling


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
    surge: float = 0.0  # share of the drops that come in gusts and go between them, 0 to 1
    sheets: float = 0.0  # brightness of the sheets of far rain that sweep over the image, 0 to 1
    lamps: float = 0.0  # share of the light that comes from lamps alone, as at night, 0 to 1
    lens: LensDrops | None = None

    def scaled(self, factor: float) -> RainSettings:
        """The same rain for an image `factor` times as large."""
        layers = tuple(
            replace(x, length=x.length * factor, width=x.width * factor, blur=x.blur * factor)
            for x in self.layers
        )
        lens = self.lens
        if lens is not None:
            lens = replace(lens, radius=lens.radius * factor, fall=lens.fall * factor)
        return replace(self, layers=layers, lens=lens)
