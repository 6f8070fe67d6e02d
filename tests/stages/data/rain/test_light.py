"""The light that rain takes: of the scene, of lamps at night, of sheets and haze."""

from __future__ import annotations

import pytest
import torch

from derain.stages.data.rain.light import (
    LAMP,
    UNLIT,
    haze_map,
    lamp_light,
    scene_light,
    sheet_map,
)
from derain.stages.data.rain.settings import RainSettings

AIRLIGHT = torch.tensor([0.8, 0.8, 0.9]).view(1, 3, 1, 1)
CPU = torch.device("cpu")


def halves() -> torch.Tensor:
    """(1, 3, 96, 96): dark on the left, bright on the right."""
    clean = torch.full((1, 3, 96, 96), 0.1)
    clean[..., 48:] = 0.6
    return clean


def test_drops_take_the_light_around_them_or_of_the_sky() -> None:
    around, sky = (scene_light(halves(), glow, AIRLIGHT) for glow in (0.0, 1.0))
    assert float(around[..., 80].mean()) > 3 * float(around[..., 10].mean())
    torch.testing.assert_close(sky, sky.mean((2, 3), keepdim=True).expand_as(sky))
    dark = scene_light(halves() / 10, 1.0, AIRLIGHT)
    assert float(dark.mean()) < float(sky.mean())


def test_at_night_rain_is_lit_where_lamps_are() -> None:
    clean = torch.full((1, 3, 96, 96), 0.05)
    clean[..., 20:28, 60:68] = 1.0
    light = lamp_light(clean, torch.Generator().manual_seed(3))
    assert light.shape == (1, 1, 96, 96)
    assert float(light.min()) >= UNLIT - 1e-6 and float(light.max()) <= 1
    assert float(light[..., 24, 64]) > 0.3
    dim = lamp_light(clean.clamp_max(LAMP - 0.1), torch.Generator().manual_seed(3))
    assert float(light.mean()) > float(dim.mean())


def test_sheets_sweep_on_with_time() -> None:
    settings, times = RainSettings((), angle=10), torch.tensor([0.0, 1.0, 30.0])
    sheets = sheet_map(settings, times, (24, 32), torch.Generator().manual_seed(0))
    assert sheets.shape == (3, 1, 24, 32)
    assert float(sheets.min()) >= 0 and float(sheets.max()) <= 1
    near, far = ((sheets[0] - sheets[n]).abs().mean() for n in (1, 2))
    assert 0 < float(near) < float(far)


@pytest.mark.parametrize("haze", [0.0, 0.5, 3.0])
def test_haze_is_thicker_above_and_never_below_its_floor(haze: float) -> None:
    settings = RainSettings((), haze=haze, haze_floor=0.3)
    times, generator = torch.arange(2.0), torch.Generator().manual_seed(1)
    found = haze_map(settings, times, (32, 48), CPU, generator)
    assert found.shape == (2, 1, 32, 48)
    if haze == 0:
        assert (found == 1).all()
        return
    assert float(found[..., :6, :].mean()) < float(found[..., -6:, :].mean())
    assert float(found.min()) >= 0.3 and float(found.max()) <= 1
    assert float((found[0] - found[1]).abs().max()) < 0.1  # clouds are slow
