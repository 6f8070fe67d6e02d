"""Time stamps that jump, forth and back: exact as far as the container can say."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import Report, VideoOptions
from derain.pipeline.video import Encoding, VideoReader
from derain.pipeline.video.timestamps import LATE, Timeline

Run = Callable[..., tuple[Path, Report]]
BASE = Fraction(1, 90000)
FRAME = 3600  # ticks: 25 frames a second


def steps(times: list[float]) -> list[float]:
    return [b - a for a, b in pairwise(times)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_a_gap_stays_and_ends_the_shot(
    run: Run,
    make_clip: Callable[..., Path],
    contents: Callable[[Path], Any],
    recurrent: nn.Module,
    suffix: str,
) -> None:
    # Ten minutes, then a frame that is late, then one and a half seconds.
    gaps = [FRAME] * 4 + [600 * 90000] + [FRAME] * 3 + [FRAME + 900] + [135000] + [FRAME] * 2
    pts = [sum(gaps[:i]) for i in range(len(gaps) + 1)]
    source = make_clip(f"in{suffix}", frames=len(pts), time_base=BASE, pts=pts)
    target, report = run(source, f"out{suffix}", recurrent)
    assert (report.frames_out, report.shots) == (len(pts), 3)
    assert not report.notices
    exact = 0.0011 if suffix == ".mkv" else 1e-6
    found = contents(target).times
    assert steps(found) == pytest.approx([g / 90000 for g in gaps], abs=exact)
    assert steps(found) == pytest.approx(steps(contents(source).times), abs=exact)


@pytest.mark.parametrize("seconds", [3, 14])
@pytest.mark.parametrize("suffix", [".ts", ".mp4"])
def test_joined_recordings_go_on_where_they_were(
    run: Run,
    make_clip: Callable[..., Path],
    contents: Callable[[Path], Any],
    identity: nn.Module,
    seconds: int,
    suffix: str,
) -> None:
    # 4 frames a second, and the sound begins later than the frame.
    count = 4 * seconds
    once = make_clip(
        "once.ts", frames=count, rate=4, options={"bf": "0"}, audio="mp2", audio_start=0.3
    )
    part = contents(once)
    source = once.parent / "twice.ts"
    source.write_bytes(2 * once.read_bytes())
    target, report = run(source, f"out{suffix}", identity)
    assert report.frames_out == 2 * count
    told = [text for text in report.notices if "Next to nothing" not in text]
    assert len(told) == 1
    assert "jump back" in told[0]
    after = contents(target)
    first, second = after.times[:count], after.times[count:]
    sounds = [time for time, _ in after.packets[1]]
    half = len(part.packets[1])
    assert len(sounds) == 2 * half
    # Both halves are what one was, the second behind the first, sound and frame in step.
    for times in (first, second):
        assert steps(times) == pytest.approx(steps(part.times), abs=1e-4)
    for start, own in ((0, first), (half, second)):
        apart = part.packets[1][0][0] - part.times[0]
        assert sounds[start] - own[0] == pytest.approx(apart, abs=1e-4)
    assert second[0] > first[-1]
    assert second[0] - first[-1] < 1


def test_a_counter_that_wraps_goes_on(
    run: Run, make_clip: Callable[..., Path], contents: Callable[[Path], Any], identity: nn.Module
) -> None:
    # MPEG time stamps have 33 bits: after 26.5 hours they begin again.
    begin = 2**33 - 20 * FRAME
    pts = [begin + FRAME * i for i in range(40)]
    source = make_clip("in.ts", frames=40, time_base=BASE, pts=pts, options={"bf": "0"})
    target, report = run(source, "out.mkv", identity)
    assert report.frames_out == 40
    assert steps(contents(target).times) == pytest.approx([0.04] * 39, abs=0.0011)


stretch = st.tuples(
    # Where its time stamps begin, in ms after the end of the stretch before it: far back, or on.
    st.one_of(st.integers(-(10**7), -3000), st.integers(1, 10**6)),
    st.lists(st.integers(1, 900), min_size=1, max_size=12),  # steps between its packets
    st.integers(-400, 400),  # how far the second stream lies behind the first
)


@settings(max_examples=200, deadline=None)
@example(begin=0, stretches=[(-3000, [1], 3), (1, [1], 0), (-3000, [1], 0)])
@given(begin=st.integers(0, 10**6), stretches=st.lists(stretch, min_size=1, max_size=6))
def test_jumps_back_are_closed_and_all_else_stays(
    begin: int, stretches: list[tuple[int, list[int], int]]
) -> None:
    notices: list[str] = []
    timeline = Timeline(notices.append)
    last, shift, falls = begin, 0, 0  # the raw end, what is added to it, jumps back so far
    ends: dict[int, int] = {}  # of both streams, placed
    for number, (jump, gaps, behind) in enumerate(stretches):
        times = [last + jump + sum(gaps[:i]) for i in range(len(gaps) + 1)]
        # As files hold them: two streams, interleaved by time.
        order = sorted([(t, 0) for t in times] + [(t + behind, 1) for t in times])
        placed = []
        for time, stream in order:
            packet: Any = SimpleNamespace(dts=time, pts=time + 5, duration=0)
            packet.stream_index, packet.time_base = stream, Fraction(1, 1000)
            packet.stream = SimpleNamespace(type="video")
            timeline.place(packet)
            assert packet.pts == packet.dts + 5
            placed.append((stream, packet.dts))
        # Both streams are moved alike, so that they stay in step.
        [moved] = {own - time for (time, _), (_, own) in zip(order, placed, strict=True)}
        if number and jump < 0:
            falls += 1
            assert all(own >= ends[stream] - 1000 * LATE for stream, own in placed)
            assert min(own for _, own in placed) == max(ends.values())
        else:
            assert moved == shift
        last, shift = times[-1], moved
        # The furthest, not the newest: a stream may lie behind the other by less than a jump.
        for stream, own in placed:
            ends[stream] = max(own, ends.get(stream, own))
    assert len(notices) == falls


def by(codec: str, **options: str) -> VideoOptions:
    """Encode with a codec."""
    return VideoOptions(precision="fp32", encoding=Encoding(codec, options=options))


def times(path: Path) -> list[float]:
    with VideoReader(path) as reader:
        return [frame.time for frame in reader.frames()]


def test_avi_has_no_frames_out_of_order(
    run: Run, make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    source = make_clip("in.mp4", frames=12, options={"bf": "2"})

    def kinds(path: Path) -> set[int]:
        with av.open(str(path)) as container:
            return {int(frame.pict_type) for frame in container.decode(video=0)}

    target, _ = run(source, "out.avi", identity)
    assert kinds(target) == {1, 2}
    target, _ = run(source, "own.avi", identity, by("libx264", bf="2"))
    assert 3 in kinds(target)


def test_b_frames_in_avi_are_evenly_spaced(
    run: Run, make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    options = {"bf": "2", "b-adapt": "0"}
    source = make_clip("in.avi", frames=15, options=options)
    assert times(source) == pytest.approx([i / 25 for i in range(15)])
    for threads in (1, 4):
        with VideoReader(source, threads=threads, start=0.2) as reader:
            shown = [frame.time for frame in reader.frames() if not frame.warm_up]
        assert shown == pytest.approx([i / 25 for i in range(10)])
    target, report = run(source, "out.mp4", identity)
    assert report.frames_out == 15
    assert times(target) == pytest.approx([i / 25 for i in range(15)])


def test_damaged_avi_stays_even(make_clip: Callable[..., Path]) -> None:
    source = make_clip("in.avi", frames=20, codec="mpeg4", options={"bf": "2", "g": "5"})
    before = times(source)
    data = bytearray(source.read_bytes())
    middle = data.find(b"00dc", len(data) // 2)
    data[middle + 8 : middle + 40] = bytes(32)
    source.write_bytes(bytes(data))
    after = times(source)
    assert before == pytest.approx([i / 25 for i in range(20)])
    assert len(after) >= 17
    steps = np.diff(after) * 25
    assert steps.min() > 0.99
    assert steps == pytest.approx(steps.round())
    assert after[-1] < 0.85


BURSTS = [0, 33, 34, 35, 36, 100, 400, 401, 402, 500]


@pytest.mark.parametrize(
    ("name", "codec"),
    [("out.gif", None), ("out.wmv", None), ("out.mpg", None), ("out.avi", "mpeg4")],
)
def test_bursts_of_frames_end_no_run(
    make_clip: Callable[..., Path], identity: nn.Module, name: str, codec: str | None
) -> None:
    """Several frames in one unit of time of the container, or of the codec."""
    source = make_clip("in.mkv", frames=len(BURSTS), time_base=Fraction(1, 1000), pts=BURSTS)
    options = VideoOptions(precision="fp32", encoding=Encoding(codec))
    derain_video(source, source.with_name(name), options, model=identity)
    with av.open(str(source.with_name(name))) as file:
        assert sum(1 for _ in file.decode(video=0)) == len(BURSTS)


def test_no_frame_of_a_gif_is_so_short_that_readers_show_it_for_ten(
    make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    """Sixty frames a second: every third would be shown for one hundredth, which none believes."""
    source = make_clip("in.mkv", frames=12, rate=60, time_base=Fraction(1, 60))
    target = source.with_name("out.gif")
    derain_video(source, target, VideoOptions(precision="fp32"), model=identity)
    with av.open(str(target)) as file:
        times = [frame.time for frame in file.decode(video=0)]
    assert times == pytest.approx([0.02 * index for index in range(12)])
