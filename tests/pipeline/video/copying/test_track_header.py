"""What headers of Matroska in memory say, and that new files say it, too."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from derain.pipeline.video import Encoding, Video, VideoWriter
from derain.pipeline.video.color import Color
from derain.pipeline.video.copying.ebml import element, elements, find, number
from derain.pipeline.video.copying.side_data import light
from derain.pipeline.video.copying.track_header import TrackMarks, template

LIGHT = {
    "master-display": "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)",
    "max-cll": "1000,400",
}
HDR = Video(64, 64, pixel_format="yuv420p10le", color=Color(9, 9, 16), light=LIGHT)


def written(target: Path, codec: str) -> list[str]:
    """Write four frames of HDR; what was said of it."""
    told: list[str] = []
    encoding = Encoding(codec, preset="12" if codec == "libsvtav1" else None)
    with VideoWriter(target, HDR, encoding, notice=told.append) as writer:
        for index in range(4):
            writer.write_rgb(np.full((64, 64, 3), 40 * index, np.uint8), index)
    return told


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("out.webm", "libvpx-vp9"),
        ("out.mkv", "ffv1"),
        ("out.mkv", "libsvtav1"),
        ("out.mp4", "libx265"),
        ("out.ts", "libx264"),
    ],
)
def test_light_is_kept(tmp_path: Path, name: str, codec: str) -> None:
    told = written(tmp_path / name, codec)
    with av.open(str(tmp_path / name)) as file:
        assert light(next(file.decode(video=0))) == LIGHT
    assert not any("light" in text for text in told)


def test_light_that_is_lost_is_told(tmp_path: Path) -> None:
    told = written(tmp_path / "out.mov", "prores_ks")
    assert any("does not keep the mastering display" in text for text in told)


def test_a_codec_without_a_code_has_no_template() -> None:
    assert template(TrackMarks(light=LIGHT), "libsvtav1", (64, 64)) is None
    assert template(TrackMarks(light=LIGHT), "libx265", (64, 64)) is not None


def test_elements_are_found_in_one_another() -> None:
    data = number("D7", 3) + element("AE", number("83", 1) + number("83", 300))
    assert [code for code, _ in elements(data)] == ["d7", "ae"]
    assert list(find(data, "ae", "83")) == [b"\1", b"\1\x2c"]
    assert list(find(data, "e0", "83")) == []
