"""Frames in and out: colour, depth, size, orientation, interlacing, sequences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from derain.models.errors import DerainError, VideoError
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import Report, VideoOptions
from derain.pipeline.video import Encoding, VideoReader, read_rgb, write_rgb

Run = Callable[..., tuple[Path, Report]]
LOSSLESS = VideoOptions(precision="fp32", encoding=Encoding("ffv1"))
X264 = VideoOptions(precision="fp32")


@pytest.mark.parametrize(
    ("pixel_format", "color"),
    [
        ("yuv420p", (1, 1, 1, 1)),
        ("yuv420p", (6, 6, 6, 1)),
        ("yuv420p", (1, 1, 1, 2)),
        ("yuv422p", (5, 5, 6, 1)),
        ("yuv444p", (9, 9, 14, 1)),
        ("yuv420p10le", (9, 9, 16, 1)),
        ("yuv422p10le", (1, 1, 1, 1)),
        ("gbrp", None),
    ],
)
def test_nothing_changed_gives_the_source_planes(
    run: Run,
    make_clip: Callable[..., Path],
    contents: Callable[[Path], Any],
    identity: nn.Module,
    pixel_format: str,
    color: tuple[int, int, int, int] | None,
) -> None:
    codec, suffix = ("ffv1", ".mkv") if color else ("utvideo", ".nut")
    source = make_clip(f"in{suffix}", codec=codec, pixel_format=pixel_format, color=color, frames=5)
    options = replace(LOSSLESS, encoding=Encoding(codec))
    target, report = run(source, f"out{suffix}", identity, options)
    before, after = contents(source), contents(target)
    assert report.frames_in == report.frames_out == 5
    assert before.same_frames(after)
    assert after.stream["format"] == pixel_format
    if color is not None:
        assert after.stream["color"] == color


@pytest.mark.parametrize(
    ("pixel_format", "color"),
    [
        ("yuv420p", (1, 1, 1, 1)),
        ("yuv420p", (6, 6, 6, 1)),
        ("yuv420p", (1, 1, 1, 2)),
        ("yuv444p", (9, 9, 14, 1)),
        ("yuv420p10le", (9, 9, 16, 1)),
        ("gbrp", None),
    ],
)
def test_a_change_arrives_in_the_right_colour(
    run: Run,
    make_clip: Callable[..., Path],
    pixel_format: str,
    color: tuple[int, int, int, int] | None,
    invert: nn.Module,
) -> None:
    codec, suffix = ("ffv1", ".mkv") if color else ("utvideo", ".nut")
    source = make_clip(f"in{suffix}", codec=codec, pixel_format=pixel_format, color=color, frames=3)
    target, _ = run(source, f"out{suffix}", invert, replace(X264, encoding=Encoding(codec)))
    for before, after in zip(read_rgb(source), read_rgb(target), strict=True):
        error = np.abs(1 - before - after)
        assert error.mean() < 1.2 / 255
        assert np.percentile(error, 99) < 6 / 255


def test_ten_bits_stay_ten_bits_in_the_default_codec(
    run: Run, make_clip: Callable[..., Path], contents: Callable[[Path], Any], invert: nn.Module
) -> None:
    source = make_clip(
        "in.mkv",
        codec="ffv1",
        pixel_format="yuv420p10le",
        color=(9, 9, 16, 1),
        frames=3,
        size=(96, 64),
    )
    target, _ = run(source, "out.mp4", invert)
    found = contents(target).stream
    assert found["codec"] == "hevc"
    assert found["format"] == "yuv420p10le"
    assert found["color"] == (9, 9, 16, 1)


def test_rotation_and_pixel_aspect_stay(
    run: Run, make_clip: Callable[..., Path], contents: Callable[[Path], Any], identity: nn.Module
) -> None:
    def prepare(container: Any, stream: Any) -> None:
        stream.set_display_rotation(-90)
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)

    source = make_clip("in.mp4", prepare=prepare)
    for name in ("out.mp4", "out.mkv", "out.mov"):
        target, _ = run(source, name, identity)
        with VideoReader(source) as before, VideoReader(target) as after:
            assert before.video.display_matrix is not None
            assert after.video.display_matrix == before.video.display_matrix
            assert after.video.aspect == Fraction(4, 3)
        assert contents(target).stream["size"] == (64, 48)


@pytest.mark.parametrize("size", [(63, 47), (64, 47), (33, 16), (16, 16)])
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.webm"])
def test_odd_sizes_stay(
    run: Run,
    make_clip: Callable[..., Path],
    contents: Callable[[Path], Any],
    recurrent: nn.Module,
    size: tuple[int, int],
    name: str,
) -> None:
    source = make_clip("in.mkv", codec="libvpx-vp9", size=size, frames=4)
    target, report = run(source, name, recurrent)
    assert contents(target).stream["size"] == size
    assert report.frames_out == len(contents(target).times) == 4


@pytest.mark.parametrize("size", [(48, 32), (16, 16), (17, 33)])
def test_small_frames_of_ten_bits(
    run: Run,
    make_clip: Callable[..., Path],
    contents: Callable[[Path], Any],
    identity: nn.Module,
    size: tuple[int, int],
) -> None:
    source = make_clip("in.mkv", codec="ffv1", pixel_format="yuv420p10le", size=size, frames=20)
    target, _ = run(source, "out.mp4", identity)
    assert len(contents(target).times) == 20
    assert contents(target).stream["format"].endswith("10le")
    with pytest.raises(DerainError, match="x265 fails"):
        run(source, "no.mp4", identity, replace(X264, encoding=Encoding("libx265")))


def test_hdr_metadata_stays(run: Run, make_clip: Callable[..., Path], identity: nn.Module) -> None:
    light = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    source = make_clip(
        "in.mp4",
        codec="libx265",
        pixel_format="yuv420p10le",
        color=(9, 9, 16, 1),
        frames=3,
        size=(96, 64),
        options={"preset": "ultrafast", "x265-params": f"log-level=none:{light}:max-cll=1000,400"},
    )
    target, _ = run(source, "out.mp4", identity)
    with VideoReader(source) as before, VideoReader(target) as after:
        assert before.video.light["master-display"] == light.split("=")[1]
        assert after.video.light == before.video.light


def test_interlaced_is_deinterlaced_or_kept(
    run: Run, make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    def combed(index: int, width: int, height: int) -> np.ndarray:
        rows = np.random.default_rng(index).integers(16, 235, (height, width, 3), np.uint8)
        rows[1::2] = np.random.default_rng(index + 50).integers(16, 235, rows[1::2].shape, np.uint8)
        return rows

    flags = {"preset": "ultrafast", "flags": "+ildct+ilme"}
    source = make_clip("in.mkv", options=flags, frames=10, draw=combed)
    with VideoReader(source) as reader:
        assert reader.video.interlaced
    target, report = run(source, "clean.mkv", identity)
    assert report.frames_in == report.frames_out == 10
    assert any("deinterlaced" in notice for notice in report.notices)
    with VideoReader(target) as reader:
        assert not reader.video.interlaced
    target, _ = run(source, "kept.mkv", identity, replace(X264, interlaced="keep"))
    with VideoReader(target) as reader:
        assert reader.video.interlaced


def test_image_sequences_gif_and_generated_sources(
    run: Run,
    make_clip: Callable[..., Path],
    contents: Callable[[Path], Any],
    identity: nn.Module,
    tmp_path: Path,
) -> None:
    source = make_clip("in.mp4", frames=4)
    _, report = run(source, "%03d.png", identity)
    assert len(list(tmp_path.glob("00?.png"))) == report.frames_out == 4
    sequence = replace(X264, input_options={"framerate": "5"})
    target = tmp_path / "back.mp4"
    report = derain_video(tmp_path / "%03d.png", target, sequence, model=identity)
    assert contents(target).times == pytest.approx([0, 0.2, 0.4, 0.6])
    for a, b in zip(read_rgb(source), read_rgb(target), strict=True):
        assert np.abs(a - b).mean() < 0.02
    _, report = run(source, "out.gif", identity)
    _, report = run(tmp_path / "out.gif", "gif.mp4", identity)
    assert report.frames_out == 4
    lavfi = "lavfi:testsrc2=size=64x48:rate=10:duration=0.5"
    report = derain_video(lavfi, tmp_path / "made.mp4", X264, model=identity)
    assert report.frames_out == 5


@pytest.mark.parametrize("mode", ["side", "wipe"])
def test_a_comparison_shows_the_rain_and_what_became_of_it(
    run: Run, make_clip: Callable[..., Path], invert: nn.Module, mode: str
) -> None:
    source = make_clip("in.mkv", codec="ffv1", frames=3)
    target, _ = run(source, "both.mkv", invert, replace(LOSSLESS, compare=mode))
    for rainy, both in zip(read_rgb(source), read_rgb(target), strict=True):
        assert both.shape == (48, 128 if mode == "side" else 64, 3)
        # The line of a wipe stands at 32; captions are above.
        left, right = both[24:, :30], both[24:, -30:]
        assert np.abs(left - rainy[24:, :30]).mean() < 0.02
        assert np.abs(right - (1 - rainy[24:, -30:])).mean() < 0.02


def test_unknown_comparisons_are_refused(
    run: Run, make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    with pytest.raises(DerainError, match="side or wipe"):
        run(make_clip(), "x.mp4", identity, replace(X264, compare="up"))


def test_layers_of_every_frame_are_written(
    run: Run, make_clip: Callable[..., Path], layered: nn.Module, tmp_path: Path
) -> None:
    folder = tmp_path / "layers"
    run(make_clip(frames=3), "out.mp4", layered, replace(X264, layers=str(folder)))
    written = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))
    assert written == [f"streaks/00000{i}.png" for i in (1, 2, 3)]


def test_reader_gives_floats_and_writer_takes_bytes(tmp_path: Path) -> None:
    frames = [np.full((32, 48, 3), 40 * i + 20, np.uint8) for i in range(5)]
    assert write_rgb(tmp_path / "a.mkv", frames, 10, Encoding("ffv1")) == 5
    back = list(read_rgb(tmp_path / "a.mkv"))
    assert [b.shape for b in back] == [(32, 48, 3)] * 5
    assert back[2].dtype == np.float32
    assert np.allclose([b.mean() * 255 for b in back], [20, 60, 100, 140, 180], atol=1)
    assert len(list(read_rgb(tmp_path / "a.mkv", 2))) == 2
    with pytest.raises(VideoError, match="no frames"):
        write_rgb(tmp_path / "b.mkv", [])
