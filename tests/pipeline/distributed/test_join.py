"""A film in segments against the same film in one piece."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from derain.models.errors import DerainError
from derain.pipeline.distributed.join import join
from derain.pipeline.distributed.plan import Job
from derain.pipeline.distributed.planning import make_plan
from derain.pipeline.distributed.work import Worker, WorkerOptions
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.video import Encoding

OPTIONS = VideoOptions(precision="fp32")
LOSSLESS = VideoOptions(precision="fp32", encoding=Encoding(codec="ffv1"))


def in_segments(
    source: Path,
    target: Path,
    model: nn.Module,
    options: VideoOptions = OPTIONS,
    seconds: float = 1.0,
    job: str = "job",
) -> Job:
    """Plan, work with one worker, join."""
    folder = Job(source.parent / job)
    make_plan(source, folder, options, seconds=seconds, suffix=target.suffix, model=model)
    report = Worker(folder, WorkerOptions(threads=1, beat=0.2), model=model).run(threading.Event())
    assert not report.failed
    join(folder, target)
    return folder


def psnr(one: list[np.ndarray], two: list[np.ndarray]) -> float:
    """Of all planes of a frame, in dB."""
    error = np.concatenate([(a.astype(float) - b).ravel() for a, b in zip(one, two, strict=True)])
    return float(10 * np.log10(255**2 / max(1e-9, np.mean(error**2))))


def test_a_long_shot_in_segments_is_the_film_in_one_piece(
    make_clip: Callable[..., Path], contents: Callable[[Path], Any], recurrent: nn.Module
) -> None:
    source = make_clip(
        "in.mkv", frames=260, audio="aac", captions=[(0.5, 1.5, "one"), (6, 7.5, "two")]
    )
    whole, joined = source.with_name("whole.mkv"), source.with_name("joined.mkv")
    derain_video(source, whole, LOSSLESS, model=recurrent)
    job = in_segments(source, joined, recurrent, LOSSLESS, seconds=2.0)
    one, two = contents(whole), contents(joined)
    assert len(list(job.parts.iterdir())) == 6
    assert two.times == one.times
    assert two.packets == one.packets != {}
    assert two.stream == one.stream
    assert min(psnr(a, b) for a, b in zip(one.planes, two.planes, strict=True)) > 50


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.ts", "out.avi", "out.mov", "out.webm"])
def test_times_and_sound_are_those_of_one_piece_in_every_container(
    make_clip: Callable[..., Path], contents: Callable[[Path], Any], invert: nn.Module, name: str
) -> None:
    source = make_clip("in.mp4", frames=40, audio=None if name.endswith("webm") else "aac")
    target = source.with_name(name)
    whole = source.with_name(f"whole{target.suffix}")
    derain_video(source, whole, OPTIONS, model=invert)
    in_segments(source, target, invert, seconds=0.5)
    one, two = contents(whole), contents(target)
    assert two.times == pytest.approx(one.times, abs=1e-9)
    assert two.packets == one.packets
    assert min(psnr(a, b) for a, b in zip(one.planes, two.planes, strict=True)) > 35


def test_a_clock_that_ran_before_begins_at_zero(
    make_clip: Callable[..., Path], contents: Callable[[Path], Any], identity: nn.Module
) -> None:
    source = make_clip(
        "in.ts", frames=40, audio="aac", audio_start=360.0, pts=[9000 + k for k in range(40)]
    )
    whole, joined = source.with_name("whole.mp4"), source.with_name("joined.mp4")
    derain_video(source, whole, OPTIONS, model=identity)
    in_segments(source, joined, identity, seconds=0.5)
    one, two = contents(whole), contents(joined)
    assert two.times == one.times and one.times[0] < 1
    assert two.packets == one.packets


def test_shots_repeats_and_variable_rate_stay_as_they_are(
    make_clip: Callable[..., Path],
    contents: Callable[[Path], Any],
    draw_pattern: Callable[..., np.ndarray],
    recurrent: nn.Module,
) -> None:
    def draw(index: int, width: int, height: int) -> np.ndarray:
        shown = index - (index % 5 == 3)  # each fifth frame repeats the one before it
        return draw_pattern(shown, width, height, scene=index // 40)

    pts = [40 * k + (7 if k % 3 else 0) for k in range(120)]
    from fractions import Fraction

    source = make_clip(
        "in.mkv",
        frames=120,
        pts=pts,
        time_base=Fraction(1, 1000),
        codec="ffv1",
        draw=draw,
        options={},
    )
    whole, joined = source.with_name("whole.mkv"), source.with_name("joined.mkv")
    derain_video(source, whole, LOSSLESS, model=recurrent)
    in_segments(source, joined, recurrent, LOSSLESS, seconds=1.0)
    one, two = contents(whole), contents(joined)
    assert two.times == one.times
    assert two.same_frames(one)


def test_a_part_of_a_film_is_that_part(
    make_clip: Callable[..., Path], contents: Callable[[Path], Any], recurrent: nn.Module
) -> None:
    source = make_clip("in.mp4", frames=100, audio="aac", options={"g": "12"})
    options = VideoOptions(precision="fp32", encoding=Encoding(codec="ffv1"), start=1.0, end=3.0)
    whole, joined = source.with_name("whole.mkv"), source.with_name("joined.mkv")
    derain_video(source, whole, options, model=recurrent)
    in_segments(source, joined, recurrent, options, seconds=0.6)
    one, two = contents(whole), contents(joined)
    assert two.times == one.times
    assert two.packets == one.packets
    assert min(psnr(a, b) for a, b in zip(one.planes, two.planes, strict=True)) > 50


def test_missing_and_broken_parts_are_named(
    make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    source = make_clip("in.mp4", frames=50)
    target = source.with_name("out.mkv")
    job = in_segments(source, target, identity, seconds=0.5)
    part = min(job.parts.iterdir())
    data = part.read_bytes()
    part.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(DerainError, match=r"00000\.1\.nut is broken; delete it"):
        join(job, target, overwrite=True)
    part.unlink()
    with pytest.raises(DerainError, match="1 of 4 segments are missing, such as number 0"):
        join(job, target, overwrite=True)
