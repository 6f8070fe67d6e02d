"""The rain model: its equation, its seeds, its movement and its ranges."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from derain.models.ops.scattering import compose_rain
from derain.stages.data.rain import (
    LensDrops,
    RainSettings,
    StreakLayer,
    render_rain,
    sample_settings,
)

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


def test_rain_moves_with_a_camera_that_pans_and_leans_with_its_motion() -> None:
    """Drops that fall 12 pixels a frame, before an image that moves 12 to the right in each."""
    layer = StreakLayer(0.004, 12, 1.2, 0.9, 0.0, 1.0, 0.0)
    settings = RainSettings(layers=(layer,), gust=0, scatter=0)
    camera = torch.tensor([[12.0 * k, 0.0] for k in range(3)])

    def leaning(camera: Tensor | None) -> tuple[float, float]:
        streaks = render_rain(grey(3, 96, 96), settings, 1, camera=camera).streaks[1, 0]
        return tuple(float((streaks * streaks.roll((4, dx), (0, 1))).sum()) for dx in (0, 4))

    upright, diagonal = leaning(None)
    assert upright > 2 * diagonal
    upright, diagonal = leaning(camera)
    assert diagonal > 2 * upright


def test_gusts_change_how_much_rain_falls_and_nothing_else() -> None:
    steady, gusty = (
        render_rain(grey(40), RainSettings(PLAIN.layers, surge=surge), 4).streaks.mean((1, 2, 3))
        for surge in (0.0, 1.0)
    )
    assert float(gusty.std() / gusty.mean()) > 3 * float(steady.std() / steady.mean())
    assert bool((gusty <= steady + 1e-6).all())


def test_ends_of_streaks_fade() -> None:
    def ends(fade: float) -> float:
        layer = StreakLayer(0.004, 30, 1.2, 0.9, 0.0, 1.0, 0.0, fade)
        settings = RainSettings(layers=(layer,), gust=0, scatter=0)
        streaks = render_rain(grey(1, 96, 96), settings, 1).streaks
        return float((streaks > 0.5 * streaks.max()).float().mean())

    assert ends(1.0) < 0.7 * ends(0.0)


def test_at_night_rain_is_seen_where_lamps_shine() -> None:
    dark = torch.full((1, 3, 96, 240), 0.02)
    dark[..., 20:30, 60:70] = 1.0  # a lamp; others may shine on the rain from outside
    dense = StreakLayer(0.2, 10, 1.2, 0.9, 0.5, 1.5, 0.0)
    settings = RainSettings(layers=(dense,), lamps=1.0)
    added = torch.stack([(render_rain(dark, settings, k).rainy - dark)[0] for k in range(8)])
    light = added.mean((0, 1))
    assert float(light[34:60, 50:80].mean()) > 1.5 * float(light[34:60, 150:].mean())
    assert float(added.mean((1, 2, 3)).min()) < 0.015  # nearly dark without others


def test_drops_before_the_focus_are_discs_with_rims() -> None:
    drops = LensDrops(count=3, radius=10, brightness=0.5, ring=1.0, fall=8, shutter=0.02)
    rain = render_rain(grey(4, 96, 96), RainSettings(layers=(), lens=drops), 2)
    covered = (rain.streaks[:, 0] > 0.01).float().mean((1, 2))
    assert bool(((covered > 0.01) & (covered < 0.4)).all())
    assert not torch.equal(rain.streaks[0], rain.streaks[1])
    even = RainSettings(layers=(), lens=replace(drops, ring=0.0))
    assert float(rain.streaks.sum()) < 0.6 * float(
        render_rain(grey(4, 96, 96), even, 2).streaks.sum()
    )


def test_sheets_sweep_over_the_image() -> None:
    sheets = render_rain(grey(8), RainSettings(layers=(), sheets=0.1, angle=10), 3).streaks
    assert 0 < float(sheets.max()) <= 0.1
    assert float((sheets[7] - sheets[0]).abs().max()) > 0.02
    assert float((sheets[1] - sheets[0]).abs().max()) < float((sheets[7] - sheets[0]).abs().max())


def test_snow_falls_in_the_share_that_is_asked_for() -> None:
    generator = torch.Generator().manual_seed(1)
    drawn = [sample_settings(generator, haze_prob=0, snow_prob=0.3) for _ in range(200)]
    flakes = [any(layer.length < 3 * layer.width for layer in x.layers) for x in drawn]
    assert 0.2 < sum(flakes) / 200 < 0.4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_renders_the_same_rain() -> None:
    settings = RainSettings(layers=PLAIN.layers, haze=0.5)
    here = render_rain(grey(), settings, 0).rainy
    there = render_rain(grey().cuda(), settings, 0).rainy.cpu()
    torch.testing.assert_close(here, there, atol=1e-3, rtol=0)
