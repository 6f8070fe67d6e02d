"""From packets of a film to images that are ready."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from derain.pipeline.video import Encoding, Video, VideoReader, VideoWriter


def recording(path: Path, aspects: list[str]) -> Path:
    """A transport stream whose parts have other shapes of a pixel, as broadcasts do."""
    for number, aspect in enumerate(aspects):
        video = Video(64, 48, aspect=Fraction(aspect))
        part = path.with_name(f"part{number}.ts")
        with VideoWriter(part, video, Encoding("mpeg2video")) as writer:
            for index in range(15):
                writer.write_rgb(np.full((48, 64, 3), index, np.uint8), index)
    path.write_bytes(b"".join(p.read_bytes() for p in sorted(path.parent.glob("part*.ts"))))
    return path


def test_a_shape_of_pixels_that_changes_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    film = recording(tmp_path / "film.ts", ["1", "4/3", "4/3"])
    with VideoReader(film, notice=told.append) as reader:
        assert sum(1 for _ in reader.frames()) == 45
    shapes = [text for text in told if "shape of a pixel changes from 1:1 to 4:3" in text]
    assert len(shapes) == 1


def test_one_that_stays_is_not(tmp_path: Path) -> None:
    told: list[str] = []
    with VideoReader(recording(tmp_path / "film.ts", ["4/3"]), notice=told.append) as reader:
        assert sum(1 for _ in reader.frames()) == 15
    assert not any("shape" in text for text in told)
