"""The demo, small: the real way through the pipeline, with sound, and figures that hold."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from derain.models.errors import DerainError
from derain.pipeline.rendered.demo import RATE, make_demo, read_8_bit, write_with_tone
from derain.pipeline.rendered.scenes import demo_frames
from derain.pipeline.rendered.tone import write_tone
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


def test_the_scene_is_the_same_at_every_length() -> None:
    short, long = (list(demo_frames(48, 64, count)) for count in (3, 5))
    np.testing.assert_array_equal(np.stack(short), np.stack(long[:3]))
    assert np.abs(long[4] - long[0]).mean() > 0.005


def test_tone_is_as_long_as_the_frames(tmp_path: Path) -> None:
    write_tone(tmp_path / "tone.mkv", 1.0)
    target = tmp_path / "with_tone.mkv"
    frames = (np.full((32, 32, 3), 9 * t, np.uint8) for t in range(RATE))
    write_with_tone(target, frames, (32, 32), RATE)
    with VideoReader(target) as reader:
        packets = [p for p in reader if not hasattr(p, "image")]
        assert sum(p.duration * p.time_base for p in packets) == pytest.approx(1, abs=0.1)
    assert [p.mean() for p in read_8_bit(target)] == pytest.approx(
        [9 * t for t in range(RATE)], abs=2
    )
