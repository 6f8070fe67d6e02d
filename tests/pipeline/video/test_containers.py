"""What containers have of their own: time codes, chapters, packets that must change their form."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from torch import nn

from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.video import Encoding
from derain.pipeline.video.copying.mp4_finalize import Cover, add_cover, cover_packet

OPTIONS = VideoOptions(precision="fp32")


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_time_codes_come_along(
    make_clip: Callable[..., Path],
    contents: Callable[[Path], Any],
    identity: nn.Module,
    suffix: str,
) -> None:
    """Drones and cinema cameras write them."""

    def prepare(container: Any, stream: Any) -> None:
        container.metadata["timecode"] = "01:02:03:04"

    source = make_clip(f"in{suffix}", audio="aac", prepare=prepare)
    with av.open(str(source)) as made:
        assert any(stream.type == "data" for stream in made.streams)
    target = source.parent / f"out{suffix}"
    report = derain_video(source, target, OPTIONS, model=identity)
    assert report.notices == []
    with av.open(str(target)) as found:
        assert found.streams.video[0].metadata["timecode"] == "01:02:03:04"
        assert sum(stream.type == "data" for stream in found.streams) == 1
    assert contents(target).times == contents(source).times


def test_a_time_code_that_cannot_be_written_is_told(
    make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    def prepare(container: Any, stream: Any) -> None:
        stream.metadata["timecode"] = "01:02:03:04"

    source = make_clip("in.mkv", prepare=prepare, rate=1000)  # no clock counts so many frames
    report = derain_video(source, source.parent / "out.mp4", OPTIONS, model=identity)
    assert report.frames_out == 12
    assert any("time code 01:02:03:04 is left out" in text for text in report.notices)


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_sound_of_transport_streams_goes_into_mp4(
    make_clip: Callable[..., Path], identity: nn.Module, suffix: str
) -> None:
    """Its AAC has a header in each packet, which MP4 wants once for all."""
    source = make_clip("in.ts", frames=24, audio="aac")
    target = source.parent / f"out{suffix}"
    assert derain_video(source, target, OPTIONS, model=identity).notices == []
    with av.open(str(source)) as before, av.open(str(target)) as after:
        sound, copy = (
            [frame.to_ndarray() for frame in file.decode(audio=0)] for file in (before, after)
        )
    assert len(sound) == len(copy) > 40
    assert all((a == b).all() for a, b in zip(sound, copy, strict=True))


def test_chapters_are_not_called_lost(make_clip: Callable[..., Path], identity: nn.Module) -> None:
    chapters = [
        {"id": k, "start": k, "end": k + 1, "time_base": Fraction(1, 5), "metadata": {"title": t}}
        for k, t in enumerate(("one", "two"))
    ]
    source = make_clip("in.mp4", prepare=lambda container, _: container.set_chapters(chapters))
    target = source.parent / "out.mp4"
    assert derain_video(source, target, OPTIONS, model=identity).notices == []
    with av.open(str(target)) as found:
        assert [c["metadata"]["title"] for c in found.chapters()] == ["one", "two"]


def test_captions_that_are_images_are_left_out_with_a_notice(
    make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    def prepare(container: Any, stream: Any) -> None:
        container.add_mux_stream("hdmv_pgs_subtitle")

    source = make_clip("in.mkv", prepare=prepare)
    report = derain_video(source, source.parent / "out.mp4", OPTIONS, model=identity)
    assert report.frames_out == 12
    assert any("does not hold" in text for text in report.notices)


def test_stamps_rise_in_the_units_of_avi(
    make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    source = make_clip("in.mkv", frames=30, audio="aac")
    options = VideoOptions(precision="fp32", encoding=Encoding("mjpeg"))
    target = source.parent / "out.avi"
    assert derain_video(source, target, options, model=identity).frames_out == 30


def test_a_turned_video_is_told_where_it_cannot_be_kept(
    make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    matrix = [0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30]
    source = make_clip("in.mp4", prepare=lambda _, stream: stream.set_display_matrix(matrix))
    report = derain_video(source, source.parent / "out.ts", OPTIONS, model=identity)
    assert any("turned" in text for text in report.notices)


def test_a_name_with_a_colon_is_a_file(
    make_clip: Callable[..., Path], identity: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_clip("in.mp4")
    monkeypatch.chdir(source.parent)
    Path("12:30.mp4").write_bytes(source.read_bytes())
    report = derain_video("12:30.mp4", "12:31.mp4", OPTIONS, model=identity)
    assert (report.frames_out, Path("12:31.mp4").is_file()) == (12, True)


@pytest.mark.parametrize("name", ["out.gif", "out.mkv", "out.mp4"])
def test_the_last_frame_stays_as_long_as_it_did(
    make_clip: Callable[..., Path], identity: nn.Module, name: str
) -> None:
    """Slides and GIFs hold it for seconds."""

    def adjust(frame: av.VideoFrame, index: int) -> av.VideoFrame:
        frame.duration = 10 if index < 5 else 300
        return frame

    def prepare(_: Any, stream: Any) -> None:
        stream.codec_context.flags |= av.codec.context.Flags.frame_duration

    source = make_clip(
        "in.mkv",
        frames=6,
        codec="ffv1",
        time_base=Fraction(1, 100),
        pts=[10 * k for k in range(6)],
        adjust=adjust,
        prepare=prepare,
    )
    target = source.parent / name
    options = VideoOptions(precision="fp32", encoding=Encoding(options={"bf": "0"}))
    derain_video(source, target, options, model=identity)
    with av.open(str(target)) as found:
        assert found.duration == pytest.approx(3.5e6, abs=1e5)


def test_mp4_tells_the_shape_of_a_pixel_for_its_codec(
    make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    def prepare(_: Any, stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)

    source = make_clip("in.mp4", prepare=prepare)
    options = VideoOptions(precision="fp32", encoding=Encoding("libvpx-vp9"))
    target = source.parent / "out.mp4"
    assert derain_video(source, target, options, model=identity).notices == []
    with av.open(str(target)) as found:
        assert found.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


def test_frames_that_all_last_alike_have_the_films_rate(
    make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    """The header of a .y4m says frames a second, not the unit of the source's time stamps."""
    source = make_clip("in.mkv", frames=5)
    target = source.with_name("out.y4m")
    derain_video(source, target, OPTIONS, model=identity)
    assert b" F25:1 " in target.read_bytes()[:64]


def test_times_that_cannot_be_kept_are_told(
    make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    source = make_clip("in.mp4", frames=5, pts=[0, 1, 5, 6, 7])
    target = source.with_name("out.y4m")
    report = derain_video(source, target, OPTIONS, model=identity)
    assert any("equally long" in notice for notice in report.notices)
    with av.open(str(target)) as file:
        assert sum(1 for _ in file.decode(video=0)) == 5


@pytest.mark.parametrize("pixel_format", ["bgr0", "yuva444p10le"])
def test_raw_frames_get_a_format_that_y4m_has(
    make_clip: Callable[..., Path], identity: nn.Module, pixel_format: str
) -> None:
    codec = "ffv1" if pixel_format == "bgr0" else "prores_ks"
    form = {"codec": codec, "pixel_format": pixel_format, "color": None, "options": {"g": "1"}}
    source = make_clip("in.mkv", frames=3, **form)
    target = source.with_name("out.y4m")
    report = derain_video(source, target, OPTIONS, model=identity)
    assert report.frames_out == 3
    assert report.notices  # what RGB and transparency become
    with av.open(str(target)) as file:
        assert sum(1 for _ in file.decode(video=0)) == 3


@pytest.mark.parametrize("suffix", [".mov", ".ts", ".nut", "_%03d.png"])
def test_a_cover_is_never_taken_for_a_film(
    make_clip: Callable[..., Path], identity: nn.Module, suffix: str
) -> None:
    film = make_clip("film.mp4", frames=4)
    source = film.with_name("in.mp4")
    still = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
    context = av.CodecContext.create("png", "w")
    context.width, context.height, context.pix_fmt = 16, 16, "rgb24"
    context.time_base = Fraction(1, 25)
    data = bytes((context.encode(still) + context.encode(None))[0])
    with av.open(str(film)) as file, av.open(str(source), "w") as out:
        copy = out.add_stream_from_template(file.streams.video[0])
        cover = Cover("png", data, 16, 16)
        packet, covered = cover_packet(cover), add_cover(out, cover)
        packet.stream = covered
        out.mux(packet)
        for packet in file.demux():
            if packet.size:
                packet.stream = copy
                out.mux(packet)
    target = source.with_name("out") / f"out{suffix}"
    target.parent.mkdir()
    report = derain_video(source, target, OPTIONS, model=identity)
    assert any("Cover image 1 is left out" in notice for notice in report.notices)
    if suffix.endswith(".png"):
        assert len(list(target.parent.iterdir())) == 4
    else:
        with av.open(str(target)) as file:
            assert len(file.streams.video) == 1
