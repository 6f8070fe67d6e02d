"""Frames of a camera that sways are put onto one; those of another scene are not."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from derain.pipeline.background.registration import MOST_SWAY, Registration


def moved(image: np.ndarray, right: float, down: float, degrees: float = 0.0) -> np.ndarray:
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    matrix[:, 2] += right, down
    how = cv2.BORDER_REFLECT_101
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), borderMode=how))


@pytest.mark.parametrize("sway", [(2.5, -1.5, 0.0), (0.0, 0.0, 0.8), (-3.0, 2.0, -0.5)])
def test_a_shift_and_a_turn_are_undone(scene: Any, psnr: Any, sway: tuple[float, ...]) -> None:
    template = scene(96, 160)
    found = Registration(template).register(moved(template, *sway))
    assert found is not None
    inner = np.s_[10:-10, 10:-10]
    before = psnr(moved(template, *sway)[inner], template[inner])
    assert psnr(found[inner], template[inner]) > max(35, before + 4)


def test_the_next_fit_begins_where_the_last_one_ended(scene: Any) -> None:
    template = scene(96, 160)
    registration = Registration(template)
    for step in range(1, 5):
        assert registration.register(moved(template, 1.5 * step, 0)) is not None
    assert registration.last[0, 2] == pytest.approx(6, abs=0.3)


def test_another_scene_or_too_wide_a_sway_fits_nowhere(scene: Any) -> None:
    template = scene(96, 160)
    registration = Registration(template)
    assert registration.register(np.ascontiguousarray(scene(96, 160, 7)[::-1])) is None
    assert registration.register(moved(template, 1.5 * MOST_SWAY * 160, 0)) is None
    assert registration.register(np.zeros_like(template)) is None
    assert (registration.last == np.eye(2, 3)).all()
