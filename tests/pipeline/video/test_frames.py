"""What a stream is said to be: size, rate, transparency."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from torch import nn

from derain.pipeline.streaming.options import Report
from derain.pipeline.video import VideoReader
from derain.pipeline.video.color import Color
from derain.pipeline.video.frames import Frame, depth, has_alpha, is_rgb, plane, reformat, to_rgb

Run = Callable[..., tuple[Path, Report]]


def times(path: Path) -> list[float]:
    with VideoReader(path) as reader:
        return [frame.time for frame in reader.frames()]


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


def image(format: str, size: tuple[int, int] = (10, 6)) -> av.VideoFrame:
    """Of one colour."""
    width, height = size
    rgb = np.full((height, width, 3), (200, 60, 30), np.uint8)
    return av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=format)


@pytest.mark.parametrize(
    ("format", "bits", "rgb", "alpha"),
    [
        ("yuv420p", 8, False, False),
        ("yuv420p10le", 10, False, False),
        ("gbrp16le", 16, True, False),
        ("rgba", 8, True, True),
        ("pal8", 8, True, False),
        ("gray", 8, False, False),
    ],
)
def test_what_pixel_formats_are(format: str, bits: int, rgb: bool, alpha: bool) -> None:
    assert (depth(format), is_rgb(format), has_alpha(format)) == (bits, rgb, alpha)


def test_planes_are_views_without_padding() -> None:
    for format, shape, kind in (
        ("rgb24", (6, 10, 3), np.uint8),
        ("yuv420p", (6, 10), np.uint8),
        ("yuv420p10le", (6, 10), np.uint16),
    ):
        found = plane(image(format), 0)
        assert found.shape == shape and found.dtype == kind
    assert plane(image("yuv420p"), 1).shape == (3, 5)


@pytest.mark.parametrize("format", ["rgb24", "yuv444p", "yuv420p10le", "gbrp16le"])
def test_colours_become_rgb_in_float(format: str) -> None:
    color = Color(5) if format.startswith("yuv") else Color(0, full_range=True)
    found = to_rgb(image(format), color, VideoReformatter())
    assert found.shape == (6, 10, 3) and found.dtype == np.float32
    assert np.abs(found * 255 - (200, 60, 30)).max() < 2.5


def test_luma_is_eight_bits_of_any_format() -> None:
    means = [
        Frame(image(format), 0, Fraction(1), Color(5)).luma().mean()
        for format in ("yuv420p", "yuv420p10le", "yuyv422")
    ]
    assert max(means) - min(means) < 3


def test_what_has_the_format_and_size_already_is_not_converted() -> None:
    given, scaler = image("yuv420p"), VideoReformatter()
    assert reformat(given, "yuv420p", Color(5), scaler) is given
    scaled = reformat(given, "yuv420p", Color(5), scaler, (20, 12))
    assert (scaled.width, scaled.height) == (20, 12)


def test_time_is_in_seconds() -> None:
    assert Frame(image("gray"), 5, Fraction(1, 25), Color(1)).time == pytest.approx(0.2)
