"""Films of real rain, split: who is whose neighbour, what counts as rain and what is certain."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from derain.models.errors import DerainError
from derain.stages.data.rain.harvest import (
    HarvestSettings,
    distinct,
    find_neighbours,
    split_film,
)

HEIGHT, WIDTH = 48, 64


def texture(seed: int = 0) -> np.ndarray:
    """(H, W + 32, 3) uint8: soft and dark, with room to pan."""
    rng = np.random.default_rng(seed)
    rough = rng.integers(40, 120, (HEIGHT, WIDTH + 32, 3), np.uint8)
    return cv2.GaussianBlur(rough, (0, 0), 2)


def film(frames: int, pan: int = 1) -> list[np.ndarray]:
    wide = texture()
    return [np.ascontiguousarray(wide[:, pan * t : pan * t + WIDTH]) for t in range(frames)]


def wet(frames: list[np.ndarray], streaks: int = 5) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Short bright streaks elsewhere in each frame, and where they are."""
    rng = np.random.default_rng(1)
    rainy, places = [], []
    for frame in frames:
        mask = np.zeros(frame.shape[:2], bool)
        for y, x in zip(
            rng.integers(2, HEIGHT - 12, streaks), rng.integers(6, WIDTH - 6, streaks), strict=True
        ):
            mask[y : y + 8, x] = True
        rainy.append(np.where(mask[..., None], np.uint8(200), frame))
        places.append(mask)
    return rainy, places


def test_repeats_are_left_out() -> None:
    one, two, three = film(3)
    assert distinct([one, one, two, two, two, three], 0.25) == [0, 2, 5]
    assert distinct([one], 0.25) == [0]


def test_neighbours_are_of_the_kept_frames_and_seen_where_the_camera_went() -> None:
    frames = film(7)
    kept = [0, 1, 2, 4, 6]
    found = list(find_neighbours(frames, kept, reach=2, blur=1.0))
    assert [centre for centre, _ in found] == [2]
    assert [k for k, _ in found[0][1]] == [0, 1, 4, 6]
    grid = np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), -1)
    inner = np.s_[8:-8, 12:-12]
    for k, place in found[0][1]:
        # What is at x in frame 2 is at x + 2 - k in frame k, for the camera pans to the right.
        shift = np.median((place - grid)[inner].reshape(-1, 2), 0)
        assert shift == pytest.approx((2 - k, 0), abs=0.25)


def test_streaks_before_a_panning_camera_become_opacity() -> None:
    frames = film(12)
    rainy, places = wet(frames)
    split = split_film(rainy, HarvestSettings(around=15))
    assert split.rainy.shape == (6, HEIGHT, WIDTH, 3)
    inner = np.s_[:, 10:-10, 14:-14]
    masks = np.stack(places[3:9])
    truth, clean = split.truth.astype(int), np.stack(frames[3:9]).astype(int)
    assert np.abs(truth - clean)[inner][masks[inner]].mean() < 12  # about 120 before
    assert split.opacity[inner][masks[inner]].mean() > 40
    assert split.opacity[inner][~masks[inner]].mean() < 8


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(DerainError, match="has 6 frames that differ"):
        split_film([*film(6), film(6)[-1]])
