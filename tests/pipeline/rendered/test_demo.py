"""The demo, small: the real way through the pipeline, with sound, and figures that hold."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from derain.models.errors import DerainError
from derain.pipeline.rendered.demo import make_demo, read_8_bit
from derain.pipeline.streaming.derain_video import VideoOptions
from derain.pipeline.video import VideoReader

SIZE, FRAMES = (128, 96), 12


@pytest.fixture
def options() -> VideoOptions:
    return VideoOptions(model="median", device="cpu", precision="fp32")


def test_demo_makes_all_it_promises(tmp_path: Path, options: VideoOptions) -> None:
    said: list[str] = []
    found = make_demo(tmp_path / "made", options, size=SIZE, frames=FRAMES, progress=said.append)
    assert set(found.files) == {"rainy", "clean", "side_by_side", "contact_sheet"}
    assert len(said) == 3
    assert 15 < found.before < 30
    assert found.after > found.before  # even the network-free model helps on this scene
    for name in ("rainy", "clean", "side_by_side"):
        frames = list(read_8_bit(found.files[name]))
        assert len(frames) == FRAMES
        wide = 2 if name == "side_by_side" else 1
        assert frames[0].shape == (SIZE[1], wide * SIZE[0], 3)
    for name in ("rainy", "clean"):
        with VideoReader(found.files[name]) as reader:
            assert [s.codec_context.name for s in reader.others] == ["aac"]
    sheet = cv2.imread(str(found.files["contact_sheet"]))
    assert sheet is not None
    assert sheet.shape == (3 * SIZE[1] + 8, 3 * SIZE[0] + 8, 3)


def test_demo_replaces_nothing_unasked(tmp_path: Path, options: VideoOptions) -> None:
    (tmp_path / "clean.mp4").touch()
    with pytest.raises(DerainError, match="add -y"):
        make_demo(tmp_path, options, size=SIZE, frames=FRAMES)
    (tmp_path / "file").touch()
    with pytest.raises(DerainError, match="file"):
        make_demo(tmp_path / "file" / "demo", options, size=SIZE, frames=FRAMES)
