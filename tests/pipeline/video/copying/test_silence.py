"""Sound in containers that count it: late sound and holes stay where they were."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from torch import nn

from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import VideoOptions

OPTIONS = VideoOptions(precision="fp32")


def loud_from(path: Path) -> float:
    """Seconds of sound before it is heard, as a player counts that has no time stamps for it."""
    before = 0
    with av.open(str(path)) as file:
        rate = file.streams.audio[0].codec_context.sample_rate
        for frame in file.decode(audio=0):
            samples = frame.to_ndarray().reshape(-1).astype(np.float64)
            level = np.abs(samples) / (32768 if frame.format.name.startswith("s16") else 1)
            if level.max() > 0.05:
                return (before + int((level > 0.05).argmax())) / rate
            before += frame.samples
    return float("inf")


@pytest.mark.parametrize("codec", ["pcm_s16le", "libmp3lame", "ac3", "aac"])
def test_late_sound_gets_silence_before_it(
    make_clip: Callable[..., Path], identity: nn.Module, codec: str
) -> None:
    source = make_clip("in.mkv", audio=codec, audio_start=0.3)
    target = source.with_name("out.avi")
    derain_video(source, target, OPTIONS, model=identity)
    assert loud_from(target) == pytest.approx(0.3, abs=0.06)  # encoders begin a frame early


@pytest.mark.parametrize("suffix", [".avi", ".mxf"])
def test_a_hole_in_the_sound_stays_a_hole(
    make_clip: Callable[..., Path], identity: nn.Module, suffix: str
) -> None:
    whole = make_clip("whole.mkv", frames=30, audio="pcm_s16le")
    source = whole.with_name("in.mkv")
    with av.open(str(whole)) as file, av.open(str(source), "w") as out:
        copies = [out.add_stream_from_template(stream) for stream in file.streams]
        for packet in file.demux():
            late = packet.stream.type == "audio" and packet.size and packet.pts > 200
            if not packet.size or (late and packet.pts < 700):
                continue
            packet.stream = copies[packet.stream_index]
            out.mux(packet)
    target = source.with_name(f"out{suffix}")
    report = derain_video(source, target, OPTIONS, model=identity)
    assert not any("hole" in notice for notice in report.notices)
    with av.open(str(target)) as file:
        heard = sum(frame.samples for frame in file.decode(audio=0))
    assert Fraction(heard, 48000) == pytest.approx(1.2, abs=0.03)


def test_a_hole_that_cannot_be_filled_is_told(
    make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    source = make_clip("in.mkv", audio="eac3", audio_start=0.3)
    report = derain_video(source, source.with_name("out.avi"), OPTIONS, model=identity)
    assert any("hole of 0." in notice for notice in report.notices), report.notices


def test_sound_of_a_broadcast_goes_into_avi(
    make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    """Transport streams have the header of AAC in every packet, AVI wants it once."""
    source = make_clip("in.ts", audio="aac")
    target = source.with_name("out.avi")
    report = derain_video(source, target, OPTIONS, model=identity)
    assert not any("left out" in notice for notice in report.notices)
    assert loud_from(target) < 0.1


def test_days_of_silence_are_not_made(make_clip: Callable[..., Path], identity: nn.Module) -> None:
    """A damaged time stamp: gigabytes of silence would stand before what follows."""
    whole = make_clip("whole.mkv", audio="pcm_s16le")
    source = whole.with_name("in.mkv")
    with av.open(str(whole)) as file, av.open(str(source), "w") as out:
        copies = [out.add_stream_from_template(stream) for stream in file.streams]
        for packet in sorted((p for p in file.demux() if p.size), key=lambda p: p.stream_index):
            if packet.stream.type == "audio" and packet.pts > 200:
                packet.pts = packet.dts = packet.pts + 100_000_000
            packet.stream = copies[packet.stream_index]
            out.mux(packet)
    target = source.with_name("out.avi")
    report = derain_video(source, target, OPTIONS, model=identity)
    assert any("hole of 100000." in notice for notice in report.notices), report.notices
    assert target.stat().st_size < 1_000_000
