"""Sizes and regions as users write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from derain.models.errors import UsageError
from derain.pipeline.streaming.sizes import parse_size, protected_mask


def test_sizes_are_width_and_height() -> None:
    assert parse_size("640x360", "--size", 16) == (640, 360)
    assert parse_size("64X48", "--size", 16) == (64, 48)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("640", "--size is auto or WIDTHxHEIGHT"),
        ("640x", "not '640x'"),
        ("640x360x3", "not"),
        ("-640x360", "not"),
        ("641x360", "must be even"),
        ("640x8", "at least 16x16"),
    ],
)
def test_other_words_are_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_size(text, "--size", 16, ("auto",))


def test_regions_and_images_are_joined(tmp_path: Path) -> None:
    grey = np.zeros((20, 30), np.uint8)
    grey[2, 3], grey[2, 4] = 128, 127
    Image.fromarray(grey).save(tmp_path / "mask.png")
    mask = protected_mask(["1, 10,2,3", str(tmp_path / "mask.png")], 30, 20)
    assert mask is not None and mask.shape == (20, 30)
    assert mask.sum() == 2 * 3 + 1
    assert mask[10:13, 1:3].all() and mask[2, 3]
    assert protected_mask([], 30, 20) is None


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    Image.new("L", (30, 21)).save(tmp_path / "high.png")
    for text, words in [
        ("25,0,6,1", "does not lie in frames of 30x20"),
        ("0,0,0,5", "does not lie"),
        ("0,0,5", "is neither"),
        (str(tmp_path / "none.png"), "is neither"),
        (str(tmp_path / "high.png"), "is 30x21, and the frames are 30x20"),
    ]:
        with pytest.raises(UsageError, match=words):
            protected_mask([text], 30, 20)
