"""Files that are broken, missing or in the way, and encoders that cannot do it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from torch import nn

from derain.models.errors import DerainError
from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import Report, VideoOptions
from derain.pipeline.video import Encoding, VideoReader

Run = Callable[..., tuple[Path, Report]]
X264 = VideoOptions(precision="fp32")


def test_truncated_and_damaged_files_give_what_they_have(
    run: Run, make_clip: Callable[..., Path], identity: nn.Module, tmp_path: Path
) -> None:
    source = make_clip("in.mkv", frames=60, audio="aac")
    data = source.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: len(data) // 2])
    target, report = run(cut, "out.mkv", identity)
    assert 5 < report.frames_out < 60
    with VideoReader(target) as reader:
        assert sum(1 for _ in reader.frames()) == report.frames_out
    spoiled = bytearray(data)
    for place in range(len(data) // 3, 2 * len(data) // 3, 97):
        spoiled[place] ^= 0x5A
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(bytes(spoiled))
    target, report = run(broken, "out2.mkv", identity)
    assert report.damaged
    with VideoReader(target) as reader:
        assert sum(1 for _ in reader.frames()) == report.frames_out


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "sound", "folder", "moov"])
def test_bad_input_is_one_sentence_and_no_file(
    run: Run, make_clip: Callable[..., Path], identity: nn.Module, tmp_path: Path, kind: str
) -> None:
    source = tmp_path / "bad.mp4"
    if kind == "empty":
        source.write_bytes(b"")
    elif kind == "text":
        source.write_text("no video at all\n" * 30)
    elif kind == "sound":
        with av.open(str(source), "w") as container:
            stream = container.add_stream("aac", rate=48000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.sample_rate = 48000
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    elif kind == "folder":
        source.mkdir()
    elif kind == "moov":
        data = make_clip("whole.mp4").read_bytes()
        source.write_bytes(data[: len(data) * 2 // 3])
        if b"moov" in data[: len(data) * 2 // 3]:
            pytest.skip("the index stands in front")
    with pytest.raises(DerainError) as caught:
        run(source, "out.mp4", identity)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("out*"))


def test_outputs_are_not_overwritten_and_folders_not_made(
    run: Run, make_clip: Callable[..., Path], identity: nn.Module, tmp_path: Path
) -> None:
    source = make_clip("in.mp4")
    (tmp_path / "out.mp4").write_text("mine")
    with pytest.raises(DerainError, match="-y"):
        run(source, "out.mp4", identity)
    assert (tmp_path / "out.mp4").read_text() == "mine"
    with pytest.raises(DerainError, match="input itself"):
        run(source, "in.mp4", identity, replace(X264, overwrite=True))
    with pytest.raises(DerainError, match="folder"):
        derain_video(source, tmp_path / "no" / "out.mp4", X264, model=identity)
    run(source, "out.mp4", identity, replace(X264, overwrite=True))
    assert (tmp_path / "out.mp4").stat().st_size > 100


def test_encoders_are_checked_before_anything_is_written(
    run: Run, make_clip: Callable[..., Path], identity: nn.Module, tmp_path: Path
) -> None:
    source = make_clip("in.mp4")
    for encoding, words in (
        (Encoding("nothing"), "no encoder"),
        (Encoding("libvpx-vp9", options={"nonsense": "1"}), "no option 'nonsense'"),
        (Encoding(preset="warp"), "cannot start"),
    ):
        with pytest.raises(DerainError, match=words):
            run(source, "out.mp4", identity, replace(X264, encoding=encoding))
    with pytest.raises(DerainError, match="does not go into"):
        run(source, "out.webm", identity, replace(X264, encoding=Encoding("libx264")))
    assert not list(tmp_path.glob("out*"))


def test_a_hardware_encoder_that_is_not_there_falls_back(
    run: Run, make_clip: Callable[..., Path], contents: Callable[[Path], Any], identity: nn.Module
) -> None:
    source = make_clip("in.mp4")
    target, report = run(source, "out.mp4", identity, replace(X264, encoding=Encoding("h264_qsv")))
    assert contents(target).stream["codec"] == "h264"
    assert report.frames_out == 12
    if report.notices:
        assert "libx264 is used instead" in report.notices[0]
