"""Rain for images of another size."""

from __future__ import annotations

import pytest

from derain.stages.data.rain.settings import LensDrops, RainSettings, StreakLayer


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_lengths_grow_with_the_image_and_shares_stay(factor: float) -> None:
    layer = StreakLayer(0.05, 12.0, 1.5, 0.6, 0.2, 1.5, 0.5)
    rain = RainSettings((layer,), angle=7, haze=0.4, lens=LensDrops(3, 5.0, 0.4, fall=40))
    scaled = rain.scaled(factor)
    (found,) = scaled.layers
    assert (found.length, found.width, found.blur) == (12 * factor, 1.5 * factor, 0.5 * factor)
    assert (found.coverage, found.fall, found.opaque) == (0.05, 1.5, 0.2)
    assert scaled.lens is not None
    assert (scaled.lens.radius, scaled.lens.fall, scaled.lens.count) == (5 * factor, 40 * factor, 3)
    assert (scaled.angle, scaled.haze) == (7, 0.4)
    assert RainSettings(()).scaled(factor).lens is None
