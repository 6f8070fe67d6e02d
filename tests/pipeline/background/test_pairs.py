"""Where crops lie, and which pixels are rain."""

from __future__ import annotations

import numpy as np

from derain.pipeline.background.pairs import grid, rain_mask


def test_grid_covers_a_side() -> None:
    assert grid(256) == [0]
    assert grid(100) == [0]
    assert grid(360) == [0, 104]
    assert grid(768) == [0, 256, 512]


def test_mask_sees_one_channel() -> None:
    clean = np.full((2, 2, 3), 100, np.uint8)
    rainy = clean.copy()
    rainy[0, 0, 2], rainy[1, 1, 0] = 109, 92
    assert rain_mask(rainy, clean).tolist() == [[True, False], [False, False]]
