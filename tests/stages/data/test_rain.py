"""The rain model: its equation, its seeds, its movement and its ranges."""

import pytest
import torch
from torch import Tensor

from derain.models.ops.scattering import compose_rain
from derain.stages.data.rain import RainSettings, StreakLayer, render_rain, sample_settings

PLAIN = RainSettings(layers=(StreakLayer(0.05, 20, 1.2, 0.7, 0.0, 1.5, 0.0),))


def grey(frames: int = 3, height: int = 64, width: int = 96) -> Tensor:
    return torch.full((frames, 3, height, width), 0.3)


def test_layers_put_together_give_the_rainy_clip() -> None:
    generator = torch.Generator().manual_seed(5)
    for seed in range(6):
        settings = sample_settings(generator)
        clean = torch.rand(3, 3, 48, 64, generator=generator)
        rain = render_rain(clean, settings, seed)
        whole = compose_rain(
            clean, rain.transmission, rain.airlight, rain.streaks, rain.occlusion, rain.drops
        )
        torch.testing.assert_close(rain.rainy, whole.clamp(0, 1))
        assert float(rain.streaks.min()) >= 0
        assert 0 <= float(rain.occlusion.min()) <= float(rain.occlusion.max()) <= 1
        assert settings.haze_floor <= float(rain.transmission.min())
        assert float(rain.transmission.max()) <= 1


def test_a_seed_is_a_rain() -> None:
    a, b, c = (render_rain(grey(), PLAIN, seed).rainy for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_a_clip_rendered_in_pieces_is_the_same() -> None:
    settings = RainSettings(layers=PLAIN.layers, haze=0.8, angle=20)
    whole = render_rain(grey(6), settings, 3).rainy
    pieces = [render_rain(grey(3), settings, 3, start=k).rainy for k in (0, 3)]
    torch.testing.assert_close(torch.cat(pieces), whole, atol=1e-4, rtol=0)


def test_no_layers_and_no_haze_change_nothing() -> None:
    rain = render_rain(grey(), RainSettings(layers=()), 0)
    assert torch.equal(rain.rainy, grey())
    assert float(rain.transmission.min()) == 1


@pytest.mark.parametrize("dial", ["density", "strength"])
def test_dials_make_more_rain(dial: str) -> None:
    amounts = [
        float((render_rain(grey(), RainSettings(PLAIN.layers, **{dial: k}), 0).rainy - 0.3).mean())
        for k in (0.3, 1.0)
    ]
    assert amounts[1] > 1.5 * amounts[0]


def test_drops_fall() -> None:
    """From one frame to the next a streak is found again further down."""
    layer = StreakLayer(0.004, 10, 1.5, 0.9, 0.0, 0.5, 0.0)
    settings = RainSettings(layers=(layer,), gust=0, scatter=0)
    rain = render_rain(grey(2, 96, 96), settings, 1).streaks[:, 0]
    shifts = range(-10, 11)
    matches = [float((rain[0].roll(shift, 0) * rain[1]).sum()) for shift in shifts]
    assert shifts[matches.index(max(matches))] > 2


def test_wind_leans_streaks() -> None:
    """Streaks of a 45 degree wind correlate along the diagonal, those of calm air upright."""

    def along(angle: float, dx: int) -> float:
        layer = StreakLayer(0.03, 20, 1.0, 0.9, 0.0, 1.5, 0.0)
        settings = RainSettings(layers=(layer,), angle=angle, gust=0, scatter=0)
        mask = render_rain(grey(1, 96, 96), settings, 0).streaks[0, 0]
        return float((mask * mask.roll((5, dx), (0, 1))).sum())

    assert along(0, 0) > 2 * along(0, 5)
    assert along(45, 5) > 2 * along(45, 0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_renders_the_same_rain() -> None:
    settings = RainSettings(layers=PLAIN.layers, haze=0.5)
    here = render_rain(grey(), settings, 0).rainy
    there = render_rain(grey().cuda(), settings, 0).rainy.cpu()
    torch.testing.assert_close(here, there, atol=1e-3, rtol=0)
