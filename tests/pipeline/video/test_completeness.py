"""Films that were cut off: told, and no success unless that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from torch import nn

from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.inputs import Task, run_tasks
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.streaming.progress import PlainLines
from derain.pipeline.video import Encoding
from derain.pipeline.video.completeness import ends_inside_packet

OPTIONS = VideoOptions(precision="fp32", encoding=Encoding("mpeg4"))
KINDS: dict[str, dict[str, Any]] = {
    ".mkv": {"audio": "aac"},
    ".webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
    ".mp4": {"audio": "aac"},
    ".avi": {"options": {"bf": "0", "preset": "ultrafast"}, "audio": "mp2"},
    ".ts": {"audio": "aac"},
    ".flv": {"audio": "aac"},
    ".gif": {"codec": "gif", "pixel_format": "rgb8", "color": None, "options": {}},
    ".mxf": {"codec": "mpeg2video", "options": {"bf": "0"}},
}


@pytest.fixture
def clip(make_clip: Callable[..., Path]) -> Callable[..., Path]:
    """Fifty frames of a kind of file; MP4 with its index in front."""

    def make(suffix: str) -> Path:
        made = make_clip(f"whole{suffix}", frames=50, **KINDS[suffix])
        if suffix == ".mp4":
            return _index_in_front(made)
        return made

    return make


def _index_in_front(path: Path) -> Path:
    target = path.with_name("front.mp4")
    options = {"movflags": "faststart"}
    with av.open(str(path)) as one, av.open(str(target), "w", container_options=options) as two:
        streams = [two.add_stream_from_template(stream) for stream in one.streams]
        for packet in one.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                two.mux(packet)
    return target


@pytest.mark.parametrize("suffix", sorted(KINDS))
def test_a_film_that_was_cut_off_is_told(
    clip: Callable[..., Path], identity: nn.Module, suffix: str
) -> None:
    whole = clip(suffix)
    report = derain_video(whole, whole.with_name("out.mkv"), OPTIONS, model=identity)
    assert report.frames_out == 50
    assert not report.incomplete, report.notices
    data = whole.read_bytes()
    cut = whole.with_name(f"cut{suffix}")
    cut.write_bytes(data[: len(data) * 6 // 10 // 188 * 188 + 94])
    report = derain_video(cut, whole.with_name("rest.mkv"), OPTIONS, model=identity)
    assert report.incomplete
    assert 5 < report.frames_out < 45
    assert any(word in report.notices[0] for word in ("missing", "cannot be read to its end"))


def test_an_incomplete_film_is_no_success_unless_allowed(
    clip: Callable[..., Path],
    identity: nn.Module,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = clip(".mkv")
    cut = whole.with_name("cut.mkv")
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    task = Task(str(cut), str(whole.with_name("out.mkv")), False)
    monkeypatch.setattr(
        "derain.pipeline.streaming.temporal_smoothing.load_chosen", lambda options: identity
    )
    assert run_tasks([task], OPTIONS, PlainLines()) == 1
    assert "is incomplete" in capsys.readouterr().err
    allowed = replace(OPTIONS, allow_damaged=True, overwrite=True)
    assert run_tasks([task], allowed, PlainLines()) == 0
    assert "declares 2.0" in capsys.readouterr().err


def test_a_cut_of_the_user_is_not_called_missing(
    clip: Callable[..., Path], identity: nn.Module
) -> None:
    whole = clip(".mp4")
    for cut in ({"start": 1.0}, {"end": 1.0}, {"start": 0.5, "end": 1.0}):
        options = replace(OPTIONS, overwrite=True, **cut)
        report = derain_video(whole, whole.with_name("out.mkv"), options, model=identity)
        assert not report.incomplete
        assert 0 < report.frames_out < 50


def test_ends_of_transport_streams(clip: Callable[..., Path], tmp_path: Path) -> None:
    whole = clip(".ts").read_bytes()
    stamped = b"".join(b"\1\2\3\4" + whole[k : k + 188] for k in range(0, len(whole), 188))
    path = tmp_path / "a.ts"
    for data, inside in (
        (whole, False),
        (whole[:-1], True),
        (b"abc" + whole, False),
        (stamped, False),
        (stamped[:-5], True),
    ):
        path.write_bytes(data)
        assert ends_inside_packet(str(path)) == inside


def test_a_clock_that_ran_over_is_no_loss(
    make_clip: Callable[..., Path], identity: nn.Module
) -> None:
    """FFmpeg counts the time before a transport stream's clock runs over below 0."""
    pts = [2**33 - 150_000 + 3600 * index for index in range(25)]
    whole = make_clip("in.ts", frames=25, time_base=Fraction(1, 90000), pts=pts)
    with av.open(str(whole)) as file:
        assert max(p.pts for p in file.demux(video=0) if p.size) < 0
    report = derain_video(whole, whole.with_name("out.mkv"), OPTIONS, model=identity)
    assert report.frames_out == 25 and not report.incomplete
