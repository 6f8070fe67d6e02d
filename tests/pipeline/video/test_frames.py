"""What a stream is said to be: size, rate, transparency."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from torch import nn

from derain.pipeline.streaming.options import Report
from derain.pipeline.video import VideoReader

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
