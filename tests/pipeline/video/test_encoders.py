"""Encoders and containers together: what goes in, what is refused before any work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from derain.models.errors import DerainError
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.video import Encoding


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_av1_goes_to_the_finished_file(
    make_clip: Callable[..., Path],
    contents: Callable[[Path], Any],
    identity: nn.Module,
    suffix: str,
) -> None:
    source = make_clip("in.mkv", frames=4)
    target = source.parent / f"out{suffix}"
    options = VideoOptions(precision="fp32", encoding=Encoding("libsvtav1"))
    assert derain_video(source, target, options, model=identity).frames_out == 4
    assert len(contents(target).times) == 4


def test_a_codec_that_the_header_refuses_costs_no_work(
    make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    source = make_clip("in.mp4", frames=4)
    options = VideoOptions(precision="fp32", encoding=Encoding("libsvtav1"))
    target = source.parent / "out.mov"
    with pytest.raises(DerainError, match=r"'libsvtav1' does not go into \.mov"):
        derain_video(source, target, options, model=identity)
    assert list(source.parent.glob("out*")) == []


def test_advice_names_what_webm_takes(make_clip: Callable[..., Path], identity: nn.Module) -> None:
    source = make_clip("in.mp4", frames=2)
    options = VideoOptions(precision="fp32", encoding=Encoding("libx265"))
    with pytest.raises(DerainError, match=r"libvpx-vp9, or libsvtav1 for more than eight bits"):
        derain_video(source, source.parent / "out.webm", options, model=identity)


@pytest.mark.parametrize("frames", [1, 2])
def test_few_frames_of_ten_bits(
    make_clip: Callable[..., Path],
    contents: Callable[[Path], Any],
    identity: nn.Module,
    frames: int,
) -> None:
    shape = {"codec": "ffv1", "pixel_format": "yuv420p10le", "size": (320, 240)}
    source = make_clip("in.mkv", frames=frames, **shape)
    target = source.parent / "out.mp4"
    derain_video(source, target, VideoOptions(precision="fp32"), model=identity)
    assert contents(target).times == pytest.approx([i / 25 for i in range(frames)], abs=1e-3)
