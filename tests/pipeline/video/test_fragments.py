"""Time stamps at which FFmpeg would end the process never reach a fragment."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import av
import pytest
from torch import nn

from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.video.fragments import FragmentTimes

MS = Fraction(1, 1000)


def through(
    times: FragmentTimes, packets: list[tuple[int, int, int]]
) -> dict[int, list[av.Packet]]:
    """Push packets, each a stream, a time and a duration in ms; what comes out of each stream."""
    container = av.open(BytesIO(), "w", format="mp4")
    streams = [container.add_stream("libx264", rate=25), container.add_stream("aac", rate=48000)]
    done = []
    for number, due, lasts in packets:
        packet = av.Packet(b"payload")
        packet.pts = packet.dts = due
        packet.duration, packet.time_base, packet.stream = lasts, MS, streams[number]
        done.append(times.push(packet, True))
    out: dict[int, list[av.Packet]] = {0: [], 1: []}
    for each in [*done, *times.flush()]:
        if each is not None:
            out[each[0].stream.index].append(each[0])
    assert sum(map(len, out.values())) == len(packets)
    return out


def test_packets_last_no_longer_than_to_the_next() -> None:
    """Frames in bursts, each said to last a second, among sound that is right."""
    video = [(0, due, 1000) for due in (0, 40, 41, 42, 42, 500)]
    sound = [(1, due, 21) for due in range(0, 500, 21)]
    told: list[str] = []
    out = through(FragmentTimes(".mp4", told.append), sorted(video + sound, key=lambda p: p[1]))
    assert [p.duration for p in out[0]] == [40, 1, 1, 1, 458, 1000]
    assert {p.duration for p in out[1]} == {21}
    for packets in out.values():
        assert [p.dts for p in packets] == sorted(p.dts for p in packets)
    assert not told


def test_a_hole_longer_than_can_be_said_is_closed_in_all_streams() -> None:
    day = 86_400_000
    packets = [(number, due, 20) for due in range(0, 100, 20) for number in (0, 1)]
    packets += [(number, day + due, 20) for due in range(0, 100, 20) for number in (1, 0)]
    told: list[str] = []
    out = through(FragmentTimes(".mp4", told.append), packets)
    for stream in out.values():
        times = [p.dts for p in stream]
        assert times == [0, 20, 40, 60, 80, 60080, 60100, 60120, 60140, 60160]
        assert all(a < b for a, b in pairwise(times))
    assert len(told) == 1 and "leap from 0.08 to 86400.00 s" in told[0]


def test_an_hour_without_frames_stays() -> None:
    out = through(FragmentTimes(".mp4", pytest.fail), [(0, 0, 40), (0, 3_600_000, 40)])
    assert [(p.dts, p.duration) for p in out[0]] == [(0, 40), (3_600_000, 40)]


def test_days_between_frames_end_no_run(
    make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    pts = [0, 40, 80, 200_000_000, 200_000_040, 200_000_080]
    source = make_clip("in.mkv", frames=len(pts), time_base=MS, pts=pts)
    report = derain_video(
        source, source.with_name("out.mp4"), VideoOptions(precision="fp32"), model=identity
    )
    assert any("Time stamps leap" in notice for notice in report.notices)
    with av.open(str(source.with_name("out.mp4"))) as file:
        times = [frame.time for frame in file.decode(video=0)]
    assert times[:3] == pytest.approx([0, 0.04, 0.08])
    assert [time - times[3] for time in times[3:]] == pytest.approx([0, 0.04, 0.08])
    assert times[3] == pytest.approx(60, abs=0.1)
