"""Pictures of two clips: what is where, and that captions hide little."""

from __future__ import annotations

import numpy as np
import pytest

from derain.models.contract import DerainError
from derain.pipeline.compare import compare_frames, contact_sheet, label

BEFORE = np.full((120, 200, 3), 60, np.uint8)
AFTER = np.full((120, 200, 3), 180, np.uint8)


def test_side_by_side_keeps_every_pixel_below_the_captions() -> None:
    both = compare_frames(BEFORE, AFTER, "side")
    assert both.shape == (120, 400, 3)
    assert (both[30:, :200] == 60).all()
    assert (both[30:, 200:] == 180).all()
    assert (both[:30, :200] != 60).any()


def test_wipe_splits_the_picture_in_the_middle() -> None:
    both = compare_frames(BEFORE, AFTER, "wipe")
    assert both.shape == BEFORE.shape
    assert (both[30:, :99] == 60).all()
    assert (both[30:, 101:] == 180).all()
    assert (both[30:, 99:101] == 255).all()


def test_inputs_are_left_alone() -> None:
    compare_frames(BEFORE, AFTER, "wipe")
    assert (BEFORE == 60).all()
    assert (AFTER == 180).all()


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (31, 17)])
@pytest.mark.parametrize("mode", ["side", "wipe"])
def test_small_pictures_stay_free_of_captions(size: tuple[int, int], mode: str) -> None:
    before, after = (np.full((*size, 3), v, np.uint8) for v in (10, 20))
    both = compare_frames(before, after, mode)
    assert both.shape == (size[0], size[1] * (2 if mode == "side" else 1), 3)
    assert np.isin(both, (10, 20, 255)).all()


def test_caption_takes_the_right_corner() -> None:
    picture = label(BEFORE, "after", right=True)
    assert (picture[:, :100] == 60).all()
    assert (picture[:30, 100:] != 60).any()


def test_contact_sheet_places_rows_and_columns() -> None:
    sheet = contact_sheet({"rain": [BEFORE, BEFORE], "clean": [AFTER, AFTER]}, gap=2)
    assert sheet.shape == (242, 402, 3)
    assert (sheet[30:120, 202:] == 60).all()
    assert (sheet[152:, :200] == 180).all()
    assert (sheet[120:122] == 255).all()
    assert contact_sheet({"a": [BEFORE, AFTER]}, width=100).shape == (30, 100, 3)


def test_what_cannot_be_compared_is_said() -> None:
    with pytest.raises(DerainError, match="one size"):
        compare_frames(BEFORE, AFTER[:50])
    with pytest.raises(DerainError, match="side or wipe"):
        compare_frames(BEFORE, AFTER, "blink")
    with pytest.raises(DerainError, match="equal length"):
        contact_sheet({"a": [BEFORE], "b": []})
