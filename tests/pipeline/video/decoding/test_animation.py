"""Animated WebP becomes a film."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

from derain.models.errors import VideoError
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.video import VideoReader
from derain.pipeline.video.decoding.animation import is_animated_webp

SHOWN = [100, 40, 40, 250]


def animation(path: Path) -> Path:
    """Four frames, two of which are the same."""
    shades = [10, 90, 90, 200]
    images = [Image.fromarray(np.full((32, 48, 3), shade, np.uint8)) for shade in shades]
    settings = {"lossless": True, "minimize_size": False, "kmin": 1, "kmax": 1}
    images[0].save(path, save_all=True, append_images=images[1:], duration=SHOWN, **settings)
    return path


def test_all_frames_come_at_their_times(tmp_path: Path, identity: nn.Module) -> None:
    source = animation(tmp_path / "in.webp")
    with VideoReader(source) as reader:
        frames = list(reader.frames())
        times = [round(1000 * frame.time) for frame in frames]
        shades = [round(255 * float(reader.to_rgb(frame).mean())) for frame in frames]
    shown = dict(zip(times, shades, strict=True))
    assert shown[0] == 10 and shown[100] == 90 and shown[180] == 200
    report = derain_video(
        source, tmp_path / "out.mkv", VideoOptions(precision="fp32"), model=identity
    )
    assert report.frames_out == len(frames) >= 3


def test_stills_and_others_are_none(tmp_path: Path) -> None:
    still = tmp_path / "still.webp"
    Image.new("RGB", (8, 8)).save(still)
    assert not is_animated_webp(str(still))
    assert not is_animated_webp(str(tmp_path / "absent.webp"))
    assert not is_animated_webp("http://host/a.webp")


def test_half_an_animation_is_refused_with_a_sentence(tmp_path: Path) -> None:
    half = animation(tmp_path / "in.webp")
    half.write_bytes(half.read_bytes()[:60])
    with pytest.raises(VideoError, match="check the file"):
        VideoReader(half)
