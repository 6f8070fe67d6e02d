"""Files that are broken, missing or in the way, and encoders that cannot do it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import av
import numpy as np
import pytest
import torch
from torch import nn

from derain.models.errors import DerainError
from derain.models.networks.per_frame import PerFrame
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


@pytest.mark.parametrize("name", ["out.part.mp4", "out.final.part.mp4", "out.part.previous.mp4"])
@pytest.mark.parametrize("way", ["name", "link"])
def test_an_input_is_never_touched_whatever_it_is_called(
    run: Run, make_clip: Callable[..., Path], identity: nn.Module, name: str, way: str
) -> None:
    source = make_clip(name if way == "name" else "in.mp4")
    if way == "link":
        (source.parent / name).symlink_to(source)
    before = source.read_bytes()
    for overwrite in (False, True):
        with pytest.raises(DerainError, match="is the input itself"):
            run(source, "out.mp4", identity, replace(X264, overwrite=overwrite))
    assert source.read_bytes() == before
    assert not (source.parent / "out.mp4").exists()


def test_a_file_of_a_helpers_name_is_not_overwritten(
    run: Run, make_clip: Callable[..., Path], identity: nn.Module, tmp_path: Path
) -> None:
    source = make_clip("in.mp4")
    (tmp_path / "out.final.part.mp4").write_text("mine")
    with pytest.raises(DerainError, match=r"out\.final\.part\.mp4 .*-y starts again"):
        run(source, "out.mp4", identity)
    assert (tmp_path / "out.final.part.mp4").read_text() == "mine"


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_an_output_that_is_a_link_is_written_through(
    run: Run, make_clip: Callable[..., Path], identity: nn.Module, tmp_path: Path, name: str
) -> None:
    source = make_clip("in.mp4")
    (tmp_path / "deep").mkdir()
    (tmp_path / name).symlink_to(Path("deep") / f"real-{name}")
    run(source, name, identity)
    run(source, name, identity, replace(X264, overwrite=True))
    assert (tmp_path / name).is_symlink()
    assert [p.name for p in (tmp_path / "deep").iterdir()] == [f"real-{name}"]
    with VideoReader(tmp_path / "deep" / f"real-{name}") as reader:
        assert sum(1 for _ in reader.frames()) == 12


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_a_folder_that_vanishes_is_said_and_no_part_is_promised(
    make_clip: Callable[..., Path], identity: nn.Module, tmp_path: Path, name: str
) -> None:
    source = make_clip("in.mp4", frames=40)
    folder = tmp_path / "gone"
    folder.mkdir()

    def progress(report: Report) -> None:
        if report.frames_out == 5:
            rmtree(folder)

    for seconds in (0.0, 100.0):
        folder.mkdir(exist_ok=True)
        options = replace(X264, checkpoint_seconds=seconds)
        with pytest.raises(DerainError, match="gone is gone") as caught:
            derain_video(source, folder / name, options, model=identity, progress=progress)
        assert "What was done" not in str(caught.value) and "make room" not in str(caught.value)


def test_memory_that_ends_is_one_sentence(
    run: Run, make_clip: Callable[..., Path], tmp_path: Path
) -> None:
    class Huge(nn.Module):
        def forward(self, rainy: torch.Tensor) -> torch.Tensor:
            return torch.empty(1 << 46)

    with pytest.raises(DerainError, match="not enough memory"):
        run(make_clip("in.mp4"), "out.mp4", PerFrame(Huge()))


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
