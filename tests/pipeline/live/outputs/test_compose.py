"""Residuals at the size of the source."""

from __future__ import annotations

from typing import Any

import numpy as np

from derain.pipeline.live.outputs.compose import residual_at
from derain.pipeline.streaming.shot_runner import Finished
from derain.pipeline.video.color import Residual


def finished() -> Finished:
    """A frame of 8x6 of which the left half was darkened."""
    before = np.full((6, 8, 3), 0.5, np.float32)
    after = before.copy()
    after[:, :4] -= 0.25
    nothing: Any = None
    return Finished(nothing, Residual(after, before))


def test_at_its_own_size_the_residual_is_given_as_it_is() -> None:
    item = finished()
    assert residual_at(item, (8, 6)) is item.residual


def test_where_nothing_was_changed_nothing_is_at_any_size() -> None:
    found = residual_at(finished(), (16, 12))
    assert isinstance(found, np.ndarray) and found.shape == (12, 16, 3)
    assert (found[:, 10:] == 0).all()
    np.testing.assert_allclose(found[:, :6], -0.25, atol=1e-6)
