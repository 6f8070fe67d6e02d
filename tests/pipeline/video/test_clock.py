"""Broadcasts and live streams, whose clocks do not begin with the film."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import pytest
from torch import nn

from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.video.clock import clock_text, first_time, runs_since_before
from derain.pipeline.video.color import Color
from derain.pipeline.video.frames import Frame

OPTIONS = VideoOptions(precision="fp32")
HOURS = 22953  # seconds; as any recording of television begins


class Stream(NamedTuple):
    """As much of a stream as says when it starts."""

    type: str
    start_time: int
    time_base: Fraction


@pytest.fixture
def broadcast(make_clip: Callable[..., Path]) -> Callable[[str], Path]:
    """A recording that begins after hours, its sound 40 ms behind its video."""

    def make(name: str) -> Path:
        pts = [25 * HOURS + k for k in range(25)]
        kind = {"codec": "mpeg2video", "options": {"bf": "0"}, "audio": "mp2"}
        return make_clip(name, frames=25, pts=pts, audio_start=HOURS + 0.04, **kind)

    return make


@pytest.mark.parametrize(
    ("source", "target", "moved"),
    [
        ("in.ts", "out.mp4", True),
        ("in.mpg", "out.mov", True),
        ("in.ts", "out.avi", True),
        ("in.ts", "out.mkv", False),
        ("in.mkv", "out.mkv", False),
    ],
)
def test_streams_begin_at_zero_in_step_where_the_target_plays_from_there(
    broadcast: Callable[[str], Path],
    contents: Callable[[Path], Any],
    identity: nn.Module,
    source: str,
    target: str,
    moved: bool,
) -> None:
    film = broadcast(source)
    out = film.parent / target
    report = derain_video(film, out, OPTIONS, model=identity)
    before, after = contents(film), contents(out)
    told = [text for text in report.notices if "clock" in text]
    assert len(told) == moved
    assert len(after.times) == len(before.times) == 25
    shift = before.times[0] - after.times[0]
    if moved:
        assert after.times[0] == pytest.approx(0, abs=0.05)
        assert "6:22:3" in told[0]
    else:
        assert shift == pytest.approx(0, abs=0.002)
    # The last frame of an AVI leaves the decoder without a time.
    assert after.times[:-1] == pytest.approx([t - shift for t in before.times[:-1]], abs=0.002)
    if target == "out.avi":
        return  # an AVI has no place for a start of its sound
    late = after.packets[1][0][0] - after.times[0]
    assert late == pytest.approx(before.packets[1][0][0] - before.times[0], abs=0.025)


def test_closed_captions_stay_with_their_frames(
    make_clip: Callable[..., Path], identity: nn.Module, tmp_path: Path
) -> None:
    """Captions of television lie in the frames, two bytes a field."""
    caption = bytes([0xB5, 0, 0x31]) + b"GA94" + bytes([3, 0x41, 0xFF, 0xFC, 0xC1, 0x80, 0xFF])
    message = bytes([6, 4, len(caption)]) + caption + b"\x80"
    plain = make_clip("plain.ts", frames=12, options={"preset": "ultrafast", "bf": "0"})
    film = tmp_path / "in.ts"
    with av.open(str(plain)) as one, av.open(str(film), "w") as two:
        stream = two.add_stream_from_template(one.streams.video[0])
        for number, packet in enumerate(p for p in one.demux() if p.size):
            data = bytes(packet)
            if number == 5:
                cut = data.index(b"\0\0\1", 6)
                data = data[:cut] + b"\0\0\1" + message + data[cut:]
            fresh = av.Packet(data)
            fresh.pts = packet.pts + 90000 * HOURS
            fresh.dts = packet.dts + 90000 * HOURS
            fresh.time_base, fresh.is_keyframe = packet.time_base, packet.is_keyframe
            fresh.stream = stream
            two.mux(fresh)
    out = tmp_path / "out.mp4"
    derain_video(film, out, OPTIONS, model=identity)

    def captioned(path: Path) -> list[int]:
        with av.open(str(path)) as container:
            frames = list(container.decode(video=0))
            return [
                number
                for number, frame in enumerate(frames)
                if any(item.type.name == "A53_CC" for item in frame.side_data)
            ]

    assert captioned(film) == captioned(out) == [5]


def test_files_with_a_clock_of_their_own_are_known() -> None:
    assert runs_since_before("mpegts", "a.ts")
    assert runs_since_before("video4linux2,v4l2", "/dev/video0")
    assert runs_since_before("flv", "rtmp://host/live")
    assert not runs_since_before("matroska,webm", "a.mkv")
    assert not runs_since_before("mov,mp4,m4a,3gp,3g2,mj2", "a.mp4")
    assert clock_text(Fraction(22953)) == "6:22:33.000"
    assert clock_text(Fraction(-3, 2)) == "-0:00:01.500"


def test_a_first_frame_before_the_declared_start_counts() -> None:
    """A damaged first packet: FFmpeg takes the second one's time for the start."""
    base = Fraction(1, 90000)
    stream = Stream("video", 133200, base)
    image = av.VideoFrame(16, 16)
    frame = Frame(image, 129600, base, Color())
    assert first_time([stream], [frame]) == Fraction(129600, 90000)
    assert first_time([stream], []) == Fraction(133200, 90000)
    assert first_time([], []) == 0
