"""Frames here and there of a film: spread evenly, each moment once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from derain.models.errors import VideoError
from derain.pipeline.preview.sampling import sample_frames
from derain.pipeline.video import VideoReader


def test_moments_are_spread_evenly(make_clip: Callable[..., Path]) -> None:
    clip = make_clip("in.mkv", frames=100, options={"g": "10", "preset": "ultrafast"})
    with VideoReader(clip) as reader:
        samples = list(sample_frames(reader, 4, 3))
    assert [sample.time for sample in samples] == pytest.approx([0.5, 1.5, 2.5, 3.5], abs=0.05)
    for sample in samples:
        assert [image.shape for image in sample.images] == [(48, 64, 3)] * 3


def test_a_moment_twice_is_given_once(make_clip: Callable[..., Path]) -> None:
    with VideoReader(make_clip("in.mkv", frames=2)) as reader:
        samples = list(sample_frames(reader, 9, 1))
    assert 1 <= len(samples) <= 2
    assert len({sample.time for sample in samples}) == len(samples)


def test_a_film_of_unknown_length_is_told(make_clip: Callable[..., Path]) -> None:
    with (
        VideoReader(make_clip("in.h264", frames=20)) as reader,
        pytest.raises(VideoError, match="does not say how long it is"),
    ):
        next(sample_frames(reader, 3, 1))
