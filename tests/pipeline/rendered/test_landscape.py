"""Layers of the landscape: noise that wraps, covers, and views that scroll."""

from __future__ import annotations

import numpy as np
import pytest

from derain.pipeline.rendered.landscape import landscape, layer, look, mix_colors, noise


def test_noise_wraps_sideways_and_fills_its_range() -> None:
    found = noise(40, 120, 24, np.random.default_rng(0))
    assert found.shape == (40, 120, 1)
    assert found.min() == 0 and found.max() == 1
    inner = np.abs(np.diff(found[..., 0], axis=1)).mean()
    assert np.abs(found[:, 0] - found[:, -1]).mean() < 3 * inner


def test_colours_are_mixed_by_share() -> None:
    share = np.array([0.0, 0.5, 1.0]).reshape(1, 3, 1)
    found = mix_colors((0, 0, 0), (1.0, 0.5, 0.0), share)
    np.testing.assert_allclose(found[0], [(0, 0, 0), (0.5, 0.25, 0), (1, 0.5, 0)])


def test_a_layer_covers_what_is_behind_and_shows_it_elsewhere() -> None:
    back = layer(np.full((8, 48, 3), 0.2, np.float32), np.ones((8, 48, 1), np.float32), 0.0)
    cover = np.zeros((8, 48, 1), np.float32)
    cover[6:] = 1
    front = layer(np.full((8, 48, 3), 0.9, np.float32), cover, 1.0)
    view = look([back, front], (8, 16), 0.0)
    assert view.shape == (8, 16, 3)
    np.testing.assert_allclose(view[:5], 0.2, atol=1e-5)
    np.testing.assert_allclose(view[6:], 0.9, atol=1e-5)


@pytest.mark.parametrize("right", [1.0, 7.5])
def test_near_layers_scroll_faster(right: float) -> None:
    layers = landscape(36, 192)
    assert [each.speed for each in layers] == sorted(each.speed for each in layers)
    one, two = (look(layers, (36, 64), at) for at in (0.0, right))
    changed = np.abs(one - two).mean((1, 2))
    assert changed[-8:].mean() > changed[:8].mean()
