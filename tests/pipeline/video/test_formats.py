"""Sources and targets that are not the usual: RGB, bare streams, JPEG, alpha, AVI, MPEG."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from torch import nn

from derain.models.errors import DerainError
from derain.pipeline.streaming.options import Report, VideoOptions
from derain.pipeline.video import Encoding, VideoReader

Run = Callable[..., tuple[Path, Report]]


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


def test_only_an_odd_size_is_called_odd(
    run: Run, make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    source = make_clip("in.mkv", codec="libvpx-vp9", size=(63, 47), frames=2)
    _, report = run(source, "out.mp4", identity)
    assert any("odd size 63x47 as 4:4:4" in notice for notice in report.notices)


@pytest.mark.parametrize("rate", [30, Fraction(30000, 1001), 12])
def test_a_bare_stream_has_the_rate_that_its_codec_says(
    run: Run, make_clip: Callable[..., Path], identity: nn.Module, rate: int | Fraction
) -> None:
    source = make_clip("in.h264", rate=rate, frames=20, options={"bf": "2"})
    target, report = run(source, "out.mp4", identity)
    assert report.frames_in == report.frames_out == 20
    with VideoReader(target) as reader:
        assert reader.video.rate == rate
    assert times(target) == pytest.approx([i / rate for i in range(20)], abs=1e-4)
    with VideoReader(source, options={"framerate": "50"}) as reader:
        assert reader.video.rate == 50  # whoever names it knows better


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


def test_alpha_that_is_not_decoded_is_told(
    run: Run, make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    def prepare(container: Any, stream: Any) -> None:
        stream.metadata["alpha_mode"] = "1"

    source = make_clip("in.webm", codec="libvpx-vp9", frames=2, prepare=prepare)
    target, report = run(source, "out.webm", identity)
    assert any("does not decode the transparency" in notice for notice in report.notices)
    with av.open(str(target)) as container:
        assert "alpha_mode" not in {k.lower() for k in container.streams.video[0].metadata}


def test_an_opaque_gif_needs_no_notice(
    run: Run, make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    source = make_clip("in.gif", codec="gif", pixel_format="rgb8", color=None, frames=3)
    _, report = run(source, "out.mp4", identity)
    assert not any("transparency" in notice for notice in report.notices)


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
