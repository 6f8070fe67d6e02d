"""`derain preview`: spots where it rains, a sheet, and estimates of the whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from derain.models.errors import DerainError
from derain.pipeline.preview.look import Findings, clock, preview, write_sheet
from derain.pipeline.streaming.options import VideoOptions

MEDIAN = VideoOptions(model="median", device="cpu", precision="fp32")


def streaks(index: int, width: int, height: int) -> np.ndarray:
    """A still scene; from frame 20 on, bright upright lines in other places in every frame."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([75 + 70 * np.sin(x / 9 + k) * np.cos(y / 7) for k in range(3)], -1)
    if index >= 20:
        rng = np.random.default_rng(index)
        for left, top in rng.integers(0, (width, height - 14), (40, 2)):
            image[top : top + 14, left] = 230
    return image.astype(np.uint8)


@pytest.fixture
def film(make_clip: Callable[..., Path]) -> Path:
    return make_clip("film.mp4", frames=60, size=(160, 96), draw=streaks, audio="aac")


def test_spots_lie_where_it_rains(film: Path, tmp_path: Path) -> None:
    said: list[str] = []
    found = preview(str(film), MEDIAN, said.append)
    assert found.kinds == ["falling streaks"]
    assert 0 < found.rainy < found.looked
    assert len(found.spots) == 5
    assert [spot.time for spot in found.spots if spot.time < 0.6] == []
    for spot in found.spots:
        assert spot.before.shape == spot.after.shape == (96, 160, 3)
        assert (spot.before > 200).sum() > 2 * (spot.after > 200).sum()
    assert found.frames == 60
    assert found.rate > 0
    assert found.seconds > found.frames / found.rate
    assert found.changed > 0.01
    assert 2_000 < found.size < 3 * film.stat().st_size
    assert said == [
        "looking where it rains most …",
        *[f"deraining spot {number} of 5 …" for number in range(1, 6)],
    ]
    write_sheet(tmp_path / "sheet.png", found.spots)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (2 * 160 + 4, 5 * 96 + 4 * 4)
    with pytest.raises(DerainError, match="cannot be written"):
        write_sheet(tmp_path / "none" / "sheet.png", found.spots)


def test_a_film_without_rain_shows_none(make_clip: Callable[..., Path]) -> None:
    film = make_clip("film.mkv", frames=12, size=(96, 64))
    found = preview(str(film), MEDIAN)
    assert found.kinds == []
    assert len(found.spots) >= 1


def test_what_cannot_be_wound_is_told(tmp_path: Path) -> None:
    for name in ("lavfi:testsrc2", "-", str(tmp_path / "none.mp4")):
        with pytest.raises(DerainError, match="There is no file"):
            preview(name, MEDIAN)


def test_kinds_are_those_of_most_of_the_film() -> None:
    assert Findings(looked=24, rainy=1).kinds == []
    assert Findings(looked=24, rainy=3, transmission=0.5).kinds == ["falling streaks", "haze"]
    assert Findings(looked=24, drops=True, transmission=0.95).kinds == ["drops on glass"]


def test_clock() -> None:
    assert clock(7.4) == "0:07"
    assert clock(3723) == "1:02:03"
