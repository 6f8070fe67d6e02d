"""Frames here and there of a film: spread evenly, each moment once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from av.video.stream import VideoStream

from derain.models.errors import VideoError
from derain.pipeline.preview import sampling
from derain.pipeline.preview.rain_kind import small
from derain.pipeline.preview.sampling import sample_frames
from derain.pipeline.video import VideoReader, read_rgb

QUARTER = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)  # turned clockwise by players


def test_moments_are_spread_evenly(make_clip: Callable[..., Path]) -> None:
    clip = make_clip("in.mkv", frames=100, options={"g": "10", "preset": "ultrafast"})
    with VideoReader(clip) as reader:
        samples = list(sample_frames(reader, 4, 3))
    assert [sample.time for sample in samples] == pytest.approx([0.5, 1.5, 2.5, 3.5], abs=0.05)
    for sample in samples:
        assert [image.shape for image in sample.images] == [(48, 64, 3)] * 3


def test_moments_far_behind_a_key_frame_are_reached_by_decoding_on(
    make_clip: Callable[..., Path],
) -> None:
    clip = make_clip("in.mp4", frames=100, options={"g": "250", "preset": "ultrafast"})
    with VideoReader(clip) as reader:
        samples = list(sample_frames(reader, 8, 3))
    times = [0.25 + 0.5 * moment for moment in range(1, 8)]
    assert [sample.time for sample in samples[1:]] == pytest.approx(times, abs=0.05)


def test_frames_right_behind_the_key_frame_do_where_moments_are_far_apart(
    make_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "FORWARD", 0)
    clip = make_clip("in.mkv", frames=150, options={"g": "50", "preset": "ultrafast"})
    with VideoReader(clip) as reader:
        samples = list(sample_frames(reader, 3, 3))
    assert [sample.time for sample in samples] == pytest.approx([0.08, 2.08, 4.08], abs=0.01)


def test_frames_that_repeat_the_one_before_are_left_out(make_clip: Callable[..., Path]) -> None:
    def twice(index: int, width: int, height: int) -> np.ndarray:
        return np.full((height, width, 3), 10 * (index // 2) + 20, np.uint8)

    with VideoReader(make_clip("in.mkv", frames=24, draw=twice)) as reader:
        (sample,) = sample_frames(reader, 1, 3)
    assert len(sample.images) == 3
    assert sample.images[1].mean() > sample.images[0].mean() + 0.02


def test_frames_are_small_and_upright(make_clip: Callable[..., Path]) -> None:
    def slope(index: int, width: int, height: int) -> np.ndarray:
        across = np.linspace(20, 220, width)[None, :, None]
        return np.broadcast_to(across, (height, width, 3)).astype(np.uint8)

    for name, matrix, shape in (
        ("lying.mp4", None, (360, 640, 3)),
        ("standing.mp4", QUARTER, (1138, 640, 3)),
    ):

        def prepare(
            _: object, stream: VideoStream, matrix: tuple[int, ...] | None = matrix
        ) -> None:
            if matrix is not None:
                stream.set_display_matrix(matrix)

        clip = make_clip(name, frames=3, size=(1280, 720), draw=slope, prepare=prepare)
        with VideoReader(clip) as reader:
            (sample,) = sample_frames(reader, 1, 1)
            wanted = small(next(read_rgb(clip)))
        assert sample.images[0].shape == wanted.shape == shape
        assert np.abs(sample.images[0] - wanted).mean() < 2 / 255


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
