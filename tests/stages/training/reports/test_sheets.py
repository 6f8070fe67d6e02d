"""Sheets: where each image lies, what a sample shows, kinds that can be written."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from derain.models.errors import DerainError
from derain.stages.data.paired_samples import without_physics
from derain.stages.training.reports.sheets import (
    BAR,
    HEIGHT,
    draw_sheet,
    sample_row,
    unbatched,
    write_sheet,
)


def test_images_stand_under_their_names_in_rows_of_one_width() -> None:
    white, grey = torch.ones(3, 40, 60), torch.full((1, 80, 40), 0.5)
    sheet = draw_sheet([[("a", white), ("b", grey)], [("c", white)]])
    tile = HEIGHT + BAR
    wide, narrow = 60 * HEIGHT // 40, 40 * HEIGHT // 80
    assert sheet.shape == (2 * tile, wide + narrow, 3)
    assert (sheet[BAR:tile, :wide] == 255).all()
    assert (sheet[BAR:tile, wide:] == 128).all()
    assert (sheet[tile + BAR :, :wide] == 255).all() and not sheet[tile + BAR :, wide:].any()
    assert sheet[:BAR, :20].any()  # a name


def test_a_sample_shows_its_middle_frame_and_layers() -> None:
    clean = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 3, 4, 4) / 10
    row = sample_row(without_physics(clean + 0.1, clean), "x")
    assert [name for name, _ in row] == [
        "x rainy", "clean", "streaks", "occlusion", "transmission"
    ]  # fmt: skip
    values = [float(image.mean()) for _, image in row[:3]]
    assert values == pytest.approx([0.3, 0.2, 0.1])


def test_a_batch_is_parted_into_its_samples() -> None:
    sample = without_physics(torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4))
    batch = type(sample)(
        *(torch.stack([part, part + 1]) if part.numel() else part for part in sample)
    )
    assert torch.equal(unbatched(batch, 1).clean, sample.clean + 1)


@pytest.mark.parametrize("name", ["a/sheet.png", "sheet.jpg"])
def test_the_ending_says_the_kind(tmp_path: Path, name: str) -> None:
    write_sheet(
        [[("red", torch.tensor([1.0, 0, 0]).view(3, 1, 1).expand(3, 9, 9))]], tmp_path / name
    )
    found = cv2.imread(str(tmp_path / name))
    assert found is not None
    assert np.abs(found[-40, 40].astype(int) - (0, 0, 255)).max() < 5  # OpenCV's order


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    row = [[("a", torch.ones(3, 9, 9))]]
    with pytest.raises(DerainError, match=r"name it \.png"):
        write_sheet(row, tmp_path / "sheet.txt")
    (tmp_path / "file").touch()
    with pytest.raises(DerainError, match="cannot be written"):
        write_sheet(row, tmp_path / "file" / "sheet.png")
