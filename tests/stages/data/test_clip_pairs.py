"""Clips on disk in the layouts of data sets: what belongs together, and what is missing."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from derain.models.errors import DerainError
from derain.stages.data.clip_pairs import CLIP_LAYOUTS, find_clip_pairs, frames_of


def clip(folder: Path, frames: int = 2) -> None:
    folder.mkdir(parents=True)
    for number in range(frames):
        cv2.imwrite(str(folder / f"{number}.png"), np.zeros((4, 6, 3), np.uint8))


def test_sequences_of_five_folders_have_their_layers(tmp_path: Path) -> None:
    for part in ("Rain_Haze", "Haze", "Trans", "Alpha", "GT"):
        clip(tmp_path / part / "s1")
    (pair,) = find_clip_pairs(tmp_path, "five-folders")
    assert pair.name == "s1" and pair.hazy == tmp_path / "Haze" / "s1"
    assert (pair.rainy, pair.clean) == (tmp_path / "Rain_Haze/s1", tmp_path / "GT/s1")
    assert (pair.transmission, pair.airlight) == (tmp_path / "Trans/s1", tmp_path / "Alpha/s1")
    (tmp_path / "Haze/s1/1.png").unlink()
    with pytest.raises(DerainError, match="1 in Haze"):
        find_clip_pairs(tmp_path, "five-folders")


def test_rain_and_truth_stand_side_by_side_by_their_names(tmp_path: Path) -> None:
    for name in ("a1_Rain", "a1_GT", "other"):
        clip(tmp_path / name)
    (pair,) = find_clip_pairs(tmp_path, "ntu")
    assert (pair.name, pair.clean) == ("a1", tmp_path / "a1_GT")
    clip(tmp_path / "b2_Rain")
    with pytest.raises(DerainError, match=r"has no b2_GT beside it"):
        find_clip_pairs(tmp_path, "ntu")
    clip(tmp_path / "b2_GT", frames=3)
    with pytest.raises(DerainError, match="2 frames and b2_GT has 3"):
        find_clip_pairs(tmp_path, "ntu")


def test_two_folders_of_clips_are_matched(tmp_path: Path) -> None:
    for part in ("rain", "norain"):
        for name in ("x", "y"):
            clip(tmp_path / part / name)
    pairs = find_clip_pairs(tmp_path, "videos")
    assert [pair.name for pair in pairs] == ["x", "y"]
    frames = frames_of(pairs)
    assert [frame.name for frame in frames] == ["x-0", "x-1", "y-0", "y-1"]
    (tmp_path / "norain/y/1.png").unlink()
    with pytest.raises(DerainError, match=r"2 frames and .* has 1"):
        frames_of(pairs)


@pytest.mark.parametrize("layout", [*CLIP_LAYOUTS, "nosuch"])
def test_what_is_not_there_is_told(tmp_path: Path, layout: str) -> None:
    with pytest.raises(DerainError, match=r"layout|expected|holds"):
        find_clip_pairs(tmp_path, layout)
