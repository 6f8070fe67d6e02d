"""What a file's header cuts off its frames is cut off."""

from __future__ import annotations

import json
import subprocess
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn

from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.video import Encoding, VideoReader
from derain.pipeline.video.copying.ebml import element, number
from derain.pipeline.video.copying.track_header import Edges, read_header
from derain.pipeline.video.decoding.cropping import Cropper
from derain.pipeline.video.frames import plane

WIDTH, HEIGHT = 64, 48


def pattern(index: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([3 * x + index, 4 * y, x + y], -1).astype(np.uint8)


def film(path: Path, edges: Edges) -> Path:
    """Three frames without loss, whose header cuts off `edges`."""
    codes = {"54CC": edges.left, "54BB": edges.top, "54DD": edges.right, "54AA": edges.bottom}
    image = number("B0", WIDTH) + number("BA", HEIGHT)
    image += b"".join(number(code, size) for code, size in codes.items() if size)
    track = number("D7", 1) + number("73C5", 1) + number("83", 1)
    track += element("86", b"V_MPEG4/ISO/AVC") + element("E0", image)
    parts = element("1549A966", number("2AD7B1", 1_000_000))
    parts += element("1654AE6B", element("AE", track)) + element("1F43B675", number("E7", 0))
    header = element("1A45DFA3", element("4282", b"matroska")) + element("18538067", parts)
    like = av.open(BytesIO(header))
    with av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(like.streams.video[0])
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv444p"
        context.framerate, context.time_base = Fraction(25), Fraction(1, 25)
        context.options = {"qp": "0", "preset": "ultrafast"}
        context.flags |= av.codec.context.Flags.global_header
        context.open(strict=False)
        stream.time_base = context.time_base
        for index in range(3):
            frame = av.VideoFrame.from_ndarray(pattern(index), format="rgb24")
            frame = frame.reformat(format="yuv444p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("name", ["in.mkv", "in.mp4", "in.mov"])
def test_frames_are_cropped_by_their_header(tmp_path: Path, identity: nn.Module, name: str) -> None:
    source = film(tmp_path / name, Edges(6, 3, 10, 4))
    with av.open(str(source)) as file:
        whole = [plane(frame, 0).copy() for frame in file.decode(video=0)]
    options = VideoOptions(precision="fp32", encoding=Encoding("ffv1"))
    report = derain_video(source, tmp_path / "out.mkv", options, model=identity)
    with av.open(str(tmp_path / "out.mkv")) as file:
        times, cut = zip(*((f.time, plane(f, 0).copy()) for f in file.decode(video=0)), strict=True)
        assert read_header(file, file.streams.video[0]).crop == Edges()
    assert [frame.shape for frame in whole] == [(HEIGHT, WIDTH)] * 3
    for before, after in zip(whole, cut, strict=True):
        np.testing.assert_array_equal(before[3:-4, 6:-10], after)
    assert times == (0.0, 0.04, 0.08)
    assert any("shows 48x41 of its 64x48" in notice for notice in report.notices)


def test_other_programs_see_the_same_size(tmp_path: Path, identity: nn.Module) -> None:
    source = film(tmp_path / "in.mp4", Edges(8, 0, 8, 0))
    derain_video(source, tmp_path / "out.mp4", VideoOptions(precision="fp32"), model=identity)
    command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(tmp_path / "out.mp4")]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert (found["streams"][0]["width"], found["streams"][0]["height"]) == (48, 48)


def test_chroma_keeps_whole_pixels() -> None:
    """One value of chroma lies on two rows: an odd row that is cut off stays."""
    told: list[str] = []
    cropper = Cropper(Edges(5, 3, 4, 2), told.append)
    frame = av.VideoFrame.from_ndarray(pattern(0), format="rgb24").reformat(format="yuv420p")
    frame.pts, frame.time_base = 7, Fraction(1, 25)
    cropped = cropper.crop(frame)
    assert (cropped.width, cropped.height, cropped.pts) == (64 - 4 - 4, 48 - 2 - 2, 7)
    np.testing.assert_array_equal(plane(cropped, 0), plane(frame, 0)[2:-2, 4:-4])
    np.testing.assert_array_equal(plane(cropped, 1), plane(frame, 1)[1:-1, 2:-2])
    assert len(told) == 1


def test_frames_that_change_are_cropped_again_and_small_ones_stay() -> None:
    cropper = Cropper(Edges(8, 8, 8, 8), lambda text: None)
    frame = av.VideoFrame.from_ndarray(pattern(0), format="rgb24")
    frame.pts, frame.time_base = 0, Fraction(1, 25)
    assert cropper.crop(frame).width == 48
    other = frame.reformat(width=32, height=32, format="gray")
    other.pts, other.time_base = 1, Fraction(1, 25)
    assert (cropper.crop(other).width, cropper.crop(other).format.name) == (16, "gray")
    tiny = frame.reformat(width=16, height=16)
    assert cropper.crop(tiny) is tiny
    assert Cropper(Edges(), print).crop(frame) is frame


def test_a_reader_tells_the_size_that_is_shown(tmp_path: Path) -> None:
    with VideoReader(film(tmp_path / "in.mkv", Edges(bottom=8))) as reader:
        assert (reader.video.width, reader.video.height) == (64, 40)
        assert reader.to_rgb(next(reader.frames())).shape == (40, 64, 3)
