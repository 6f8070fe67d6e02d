"""Captions that are laid over training clips."""

import numpy as np

from derain.stages.data.augment import overlay


def test_captions_cover_a_part_and_are_drawn_anew() -> None:
    ground = np.full((96, 96, 3), 90, np.uint8)
    drawn = [overlay(ground, np.random.default_rng(seed)) for seed in range(12)]
    assert all(x.shape == (96, 96, 4) and x.min() >= 0 and x.max() <= 1 for x in drawn)
    covered = [float((x[..., 3] > 0.05).mean()) for x in drawn]
    assert max(covered) < 0.6
    assert len({round(x, 6) for x in covered}) > 8


def test_part_of_the_captions_hardly_differ_from_a_bright_ground() -> None:
    """As letters of a film over a bright yard: their contrast is tens of grey levels, not 255."""
    ground = np.full((96, 96, 3), 190, np.uint8)
    pale = 0
    for seed in range(60):
        layer = overlay(ground, np.random.default_rng(seed))
        shown = layer[..., 3:] * (255 * layer[..., :3] - ground)
        most = np.abs(shown).max()
        pale += 8 < most < 70 and shown.max() >= -shown.min()
    assert 12 < pale < 40
