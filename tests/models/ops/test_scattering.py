"""The rain equation and its inverse."""

import pytest
import torch

from derain.models.ops.scattering import (
    T_MIN,
    add_haze,
    compose_rain,
    dehaze,
    has_haze,
    recompose,
    remove_streaks,
    see_through,
)


def random(*shape: int, low: float = 0.0, high: float = 1.0, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(*shape, generator=generator)


def test_compose_follows_the_equation() -> None:
    clean, streaks = random(2, 3, 4, 5, seed=1), random(2, 3, 4, 5, seed=2)
    t, a = random(2, 1, 4, 5, low=0.3, seed=3), random(2, 1, 4, 5, seed=4)
    airlight, drops = random(2, 3, 1, 1, seed=5), random(2, 3, 1, 1, seed=6)
    expected = (1 - a) * (t * clean + (1 - t) * airlight + streaks) + a * drops
    torch.testing.assert_close(compose_rain(clean, t, airlight, streaks, a, drops), expected)


def test_inversion_undoes_rain_where_the_scene_shows() -> None:
    clean, streaks = random(1, 3, 8, 8, seed=1), random(1, 3, 8, 8, high=0.3, seed=2)
    t, airlight = random(1, 1, 8, 8, low=0.3, seed=3), random(1, 3, 1, 1, seed=4)
    nothing = torch.zeros(1, 1, 8, 8)
    rainy = compose_rain(clean, t, airlight, streaks, nothing, airlight)
    hazy = remove_streaks(rainy, streaks, nothing, torch.zeros_like(clean))
    torch.testing.assert_close(hazy, add_haze(clean, t, airlight))
    torch.testing.assert_close(dehaze(hazy, t, airlight), clean, atol=1e-5, rtol=0)


def test_what_a_drop_hides_comes_from_the_fill() -> None:
    fill = random(1, 3, 4, 4)
    hidden = torch.ones(1, 1, 4, 4)
    hazy = remove_streaks(torch.ones(1, 3, 4, 4), torch.zeros(1), hidden, fill)
    torch.testing.assert_close(hazy, fill)


def test_inversion_is_bounded() -> None:
    recovered = dehaze(torch.ones(1, 3, 1, 1), torch.zeros(1, 1, 1, 1), torch.zeros(1, 3, 1, 1))
    assert float(recovered.max()) <= 1 / T_MIN + 1e-5


@pytest.mark.parametrize("physics", [True, False])
def test_dials_are_exact_at_both_ends_and_monotonic(physics: bool) -> None:
    rainy, clean = random(1, 3, 6, 6, seed=1), random(1, 3, 6, 6, seed=2)
    t = random(1, 1, 6, 6, low=0.3, seed=3) if physics else None
    airlight = random(1, 3, 1, 1, seed=4) if physics else None
    torch.testing.assert_close(recompose(rainy, clean, t, airlight, 1, 1), clean)
    torch.testing.assert_close(recompose(rainy, clean, t, airlight, 0, 0), rainy)
    gaps = [
        float((recompose(rainy, clean, t, airlight, k, 1) - clean).abs().mean())
        for k in (0.0, 0.5, 1.0)
    ]
    assert gaps[0] > gaps[1] > gaps[2]


def test_seeing_through_haze_is_taking_it_off_and_nothing_where_there_is_none() -> None:
    hazy, transmission = torch.rand(1, 3, 6, 8), torch.rand(1, 1, 6, 8) * 0.8 + 0.2
    airlight = torch.rand(1, 3, 1, 1)
    found = see_through(hazy, 1 / transmission, airlight)
    torch.testing.assert_close(found, dehaze(hazy, transmission, airlight), rtol=0, atol=1e-5)
    with torch.inference_mode():
        assert has_haze(1 / transmission)
        assert not has_haze(torch.ones_like(transmission))
    assert torch.equal(see_through(hazy, torch.ones_like(transmission), airlight), hazy)
