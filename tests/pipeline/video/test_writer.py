"""What a writer does to the times that an encoder gives."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from derain.models.errors import DerainError
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import Report, VideoOptions
from derain.pipeline.video import Encoding, Video, VideoReader, VideoWriter, read_rgb
from derain.pipeline.video.color import Color
from derain.pipeline.video.frames import Frame

FEW = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
Run = Callable[..., tuple[Path, Report]]


@pytest.mark.parametrize("unset", [None, -(2**40), -40_000, 2**33])
def test_decode_times_that_cannot_be_are_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unset: int | None
) -> None:
    """x265 leaves any number there for a stream of a frame or two."""
    target = tmp_path / "short.mkv"
    writer = VideoWriter(target, Video(64, 64, Fraction(25)), Encoding("libx264"))
    written: list[tuple[int | None, int | None]] = []
    keep = writer.muxer.write_video

    def spoil(packet: av.Packet) -> None:
        written.append((packet.pts, packet.dts))
        keep(packet)

    check = writer._check_times

    def spoiled(packet: av.Packet) -> None:
        packet.dts = unset
        check(packet)

    monkeypatch.setattr(writer, "_check_times", spoiled)
    monkeypatch.setattr(writer.muxer, "write_video", spoil)
    for index in range(2):
        writer.write_rgb(np.full((64, 64, 3), 90 * index, np.uint8), index)
    writer.close()
    assert len(written) == 2
    for pts, dts in written:
        assert pts is not None
        assert dts is not None
        assert -2 <= dts <= pts
    with av.open(str(target)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 2


def test_decode_times_of_slow_films_are_believed(tmp_path: Path) -> None:
    """A frame a minute with B-frames: decoding runs minutes ahead of showing."""
    target = tmp_path / "slow.mkv"
    video = Video(64, 64, Fraction(25))
    options = {"bf": "3", "b_strategy": "0"}
    with VideoWriter(target, video, Encoding("libx264", options=options)) as writer:
        for index in range(12):
            writer.write_rgb(np.full((64, 64, 3), 20 * index, np.uint8), 1500 * index)
    with av.open(str(target)) as container:
        shown = [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
    assert shown == pytest.approx([60 * index for index in range(12)])


def by(codec: str, **options: str) -> VideoOptions:
    """Encode with a codec."""
    return VideoOptions(precision="fp32", encoding=Encoding(codec, options=options))


def gentle(index: int, width: int, height: int) -> np.ndarray:
    """(H, W, 3) uint8: colours that change so slowly that 4:2:0 loses nothing of them."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    waves = [np.sin(x / 9 + index / 5), np.sin(y / 7 - index / 4), np.sin((x + y) / 11)]
    return (120 + 100 * np.stack(waves, -1)).astype(np.uint8)


def error(one: Path, two: Path, **options: str) -> tuple[float, float]:
    """Of all frames of two files: PSNR in dB, and by how much the second is brighter."""
    with VideoReader(one) as before, VideoReader(two, options=options) as after:
        pairs = zip(before.frames(), after.frames(), strict=True)
        change = [after.to_rgb(b) - before.to_rgb(a) for a, b in pairs]
    whole = np.stack(change)
    return float(-10 * np.log10((whole**2).mean())), float(255 * whole.mean())


def times(path: Path) -> list[float]:
    with VideoReader(path) as reader:
        return [frame.time for frame in reader.frames()]


@pytest.mark.parametrize(
    ("codec", "pixel_format", "name"),
    [
        ("ffv1", "bgr0", "in.mkv"),
        ("rawvideo", "bgr24", "in.avi"),
        ("rawvideo", "rgb555le", "in.avi"),
        ("apng", "rgb24", "in.apng"),
        ("libx264rgb", "rgb24", "in.mp4"),
    ],
)
@pytest.mark.parametrize("encoder", ["libx264", "libx265"])
def test_rgb_becomes_what_players_show(
    run: Run,
    make_clip: Callable[..., Path],
    contents: Callable[[Path], Any],
    identity: nn.Module,
    codec: str,
    pixel_format: str,
    name: str,
    encoder: str,
) -> None:
    shape = {"pixel_format": pixel_format, "color": None, "size": (96, 64)}
    options = {"crf": "4"}  # of x264's RGB; the others know none
    source = make_clip(name, codec=codec, frames=3, draw=gentle, options=options, **shape)
    target, report = run(source, "out.mp4", identity, by(encoder))
    assert [notice for notice in report.notices if "4:" in notice] == [
        "RGB becomes 4:2:0, which every player shows; --codec libx264rgb keeps RGB."
    ]
    found = contents(target).stream
    assert found["format"] == "yuv420p"
    assert (found["color"][0], found["color"][3]) == (6, 1)
    quality, brighter = error(source, target)
    assert quality > 32
    assert abs(brighter) < 1.5  # swscale rounds down


def test_rgb_stays_where_it_is_asked_for(
    run: Run, make_clip: Callable[..., Path], contents: Callable[[Path], Any], identity: nn.Module
) -> None:
    source = make_clip("in.mkv", codec="ffv1", pixel_format="bgr0", color=None, frames=3)
    target, report = run(source, "out.mp4", identity, by("libx264rgb"))
    assert contents(target).stream["format"] == "gbrp"
    assert not report.notices
    assert error(source, target)[0] > 38


@pytest.mark.parametrize("color", [(1, 1, 1, 1), (5, 5, 6, 1), (1, 1, 1, 2)])
@pytest.mark.parametrize("name", ["%03d.jpg", "out.mov"])
def test_jpeg_has_the_colours_of_the_source(
    run: Run,
    make_clip: Callable[..., Path],
    identity: nn.Module,
    color: tuple[int, int, int, int],
    name: str,
) -> None:
    source = make_clip("in.mp4", color=color, frames=3, draw=gentle)
    target, report = run(source, name, identity, by("mjpeg"))
    assert report.frames_out == 3
    options = {"framerate": "25"} if "%" in name else {}
    quality, brighter = error(source, target, **options)
    assert quality > 34
    assert abs(brighter) < 1.5
    with VideoReader(target, options=options) as reader:
        assert reader.video.color.full_range
        assert reader.video.color.matrix == 5


def clear(frame: av.VideoFrame, index: int) -> av.VideoFrame:
    """Half of it transparent."""
    pixels = frame.reformat(format="rgba").to_ndarray()
    pixels[:, : frame.width // 2, 3] = 0
    return av.VideoFrame.from_ndarray(pixels, format="rgba").reformat(format="bgra")


def test_lost_transparency_is_told(
    run: Run, make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    shape = {"codec": "ffv1", "pixel_format": "bgra", "color": None}
    source = make_clip("in.mkv", frames=2, adjust=clear, **shape)
    _, report = run(source, "out.mp4", identity)
    assert "libx264 stores no transparency; --codec ffv1 into .mkv keeps it." in report.notices
    target, report = run(source, "out.mkv", identity, by("ffv1"))
    assert not report.notices
    with av.open(str(target)) as container:
        alpha = next(container.decode(video=0)).to_ndarray(format="rgba")[..., 3]
    assert (alpha[:, :32] == 0).all() and (alpha[:, 32:] == 255).all()


@pytest.mark.parametrize(("name", "codec"), [("out.webm", "libvpx-vp9"), ("out.mkv", "ffv1")])
def test_a_lost_pixel_aspect_is_told(
    run: Run, make_clip: Callable[..., Path], identity: nn.Module, name: str, codec: str
) -> None:
    def prepare(container: Any, stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)

    source = make_clip("in.mp4", frames=2, prepare=prepare)
    _, report = run(source, name, identity, by(codec))
    lost = f"{codec} does not keep the shape of a pixel, 4/3; --codec libx264 does."
    assert report.notices == [lost]
    target, report = run(source, "out.mp4", identity)
    assert not report.notices
    with VideoReader(target) as reader:
        assert reader.video.aspect == Fraction(4, 3)


@pytest.mark.parametrize("name", ["out.mpg", "out.vob", "out.mxf"])
@pytest.mark.parametrize("ticks", [Fraction(1, 12800), None])
def test_mpeg_takes_a_constant_rate_in_any_ticks(
    run: Run,
    make_clip: Callable[..., Path],
    identity: nn.Module,
    name: str,
    ticks: Fraction | None,
) -> None:
    look: dict[str, Any] = {"draw": gentle, "color": (5, 5, 6, 1)}
    pts = [i * 512 for i in range(10)] if ticks else None
    source = make_clip("in.mp4", frames=10, time_base=ticks, pts=pts, **look)
    target, report = run(source, name, identity)
    assert report.frames_out == 10
    assert np.diff(times(target)) == pytest.approx([0.04] * 9, abs=1e-3)
    assert error(source, target)[0] > 34


def test_mpeg_refuses_other_rates(
    run: Run, make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    source = make_clip("in.mp4", rate=7, frames=3)
    with pytest.raises(DerainError, match="of 7 frames a second") as caught:
        run(source, "out.mkv", identity, by("mpeg1video"))
    assert "\n" not in str(caught.value)


@FEW
@given(
    size=st.tuples(st.integers(16, 70), st.integers(16, 70)),
    steps=st.lists(st.integers(1, 9000), min_size=1, max_size=12),
    start=st.integers(0, 200_000),
    name=st.sampled_from(["a.mp4", "a.mov", "a.nut"]),
)
def test_sizes_and_time_stamps_come_back_exactly(
    size: tuple[int, int], steps: list[int], start: int, name: str
) -> None:
    base = Fraction(1, 90000)
    pts = [start + int(t) for t in np.cumsum(steps)]
    video = Video(*size, rate=Fraction(25), time_base=base, color=Color(1, 1, 1))
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / name
        with VideoWriter(target, video, Encoding()) as writer:
            for index, stamp in enumerate(pts):
                image = av.VideoFrame(*size, "yuv420p")
                for plane in image.planes:
                    plane.update(bytes([40 + 10 * index]) * plane.buffer_size)
                writer.write(Frame(image, stamp, base, video.color, index))
        with VideoReader(target) as reader:
            found = list(reader.frames())
            assert (reader.video.width, reader.video.height) == size
    assert [f.pts * f.time_base for f in found] == [p * base for p in pts]


@pytest.mark.parametrize(
    ("pixel_format", "name", "codec"),
    [
        ("yuv420p", "out.mkv", "ffv1"),
        ("yuv420p", "out.nut", "ffv1"),
        ("yuv420p", "out.mxf", "mpeg2video"),
        ("yuv420p", "out.avi", "mpeg4"),
        ("yuv420p", "out.nut", "rawvideo"),
        ("yuv420p", "out.y4m", None),
        ("yuv422p10le", "out.nut", "ffv1"),
        ("yuv422p10le", "out.mov", "prores_ks"),
    ],
)
def test_the_full_range_looks_alike_where_nobody_says_it(
    tmp_path: Path, identity: nn.Module, pixel_format: str, name: str, codec: str | None
) -> None:
    """Grey steps, read again by what the new file says of its range."""
    image = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], 64, 0).repeat(3, 2)
    source, target = tmp_path / "in.mkv", tmp_path / name
    bits = "libx265" if "10" in pixel_format else "libx264"
    video = Video(64, 64, pixel_format=pixel_format, color=Color(6, 6, 6, full_range=True))
    with VideoWriter(source, video, Encoding(bits, crf=1)) as writer:
        for index in range(3):
            writer.write_rgb(image, index)
    report = derain_video(
        source, target, VideoOptions(precision="fp32", encoding=Encoding(codec)), model=identity
    )
    before, after = (next(read_rgb(path)) for path in (source, target))
    assert np.abs(before - after).max() < 0.04
    told = any("the limited one" in notice for notice in report.notices)
    assert told == (name not in ("out.mkv", "out.y4m"))


@pytest.mark.parametrize(
    ("name", "codec", "lost"),
    [
        ("out.mov", "prores_ks", False),
        ("out.mkv", "ffv1", False),
        ("out.nut", "ffv1", True),
        ("out_%d.png", None, True),
    ],
)
def test_colours_of_hdr_are_kept_or_told(
    tmp_path: Path, name: str, codec: str | None, lost: bool
) -> None:
    told: list[str] = []
    video = Video(64, 48, pixel_format="yuv422p10le", color=Color(9, 9, 18))
    with VideoWriter(tmp_path / name, video, Encoding(codec), notice=told.append) as writer:
        for index in range(2):
            writer.write_rgb(np.full((48, 64, 3), 90 * index, np.uint8), index)
    assert any("what its colours mean" in text for text in told) == lost
    if not lost:
        with VideoReader(tmp_path / name) as reader:
            assert reader.video.color == Color(9, 9, 18)


def test_colours_that_readers_expect_need_no_word(tmp_path: Path) -> None:
    video = Video(64, 48, color=Color(6, 6, 6))
    with VideoWriter(tmp_path / "out.nut", video, Encoding("ffv1"), notice=pytest.fail) as writer:
        writer.write_rgb(np.zeros((48, 64, 3), np.uint8), 0)
