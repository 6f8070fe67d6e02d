"""Films of VR cameras stay spheres with two views."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import pytest
from torch import nn

from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import VideoOptions
from derain.pipeline.video import Encoding
from derain.pipeline.video.copying.immersive import CUBEMAP, TILE, Immersive, immersive
from derain.pipeline.video.copying.track_header import TrackMarks, template

SPHERE = Immersive(stereo_mode=1, projection=0, angles=(10.0, -5.0, 2.5))


def vr_film(path: Path, view: Immersive, codec: str = "libx264") -> Path:
    """Three frames, said to be a map of a sphere."""
    like = template(TrackMarks(view), codec, (64, 64))
    assert like is not None
    with av.open(str(path), "w", container_options={"strict": "unofficial"}) as out:
        stream = out.add_stream_from_template(like.streams.video[0])
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = 64, 64, "yuv420p"
        context.framerate, context.time_base = Fraction(25), Fraction(1, 25)
        context.flags |= av.codec.context.Flags.global_header
        stream.time_base = context.time_base
        for index in range(3):
            frame = av.VideoFrame(64, 64, "yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def seen(path: Path) -> Immersive | None:
    with av.open(str(path)) as file:
        return immersive(next(file.decode(video=0)))


def test_spheres_and_stereo_are_kept_in_webm(tmp_path: Path, identity: nn.Module) -> None:
    film = vr_film(tmp_path / "in.mkv", SPHERE)
    target = tmp_path / "out.webm"
    report = derain_video(film, target, VideoOptions(precision="fp32"), model=identity)
    assert seen(target) == seen(film) == SPHERE
    assert not any("does not keep" in notice for notice in report.notices)


def test_mp4_has_the_boxes_that_players_read(tmp_path: Path, identity: nn.Module) -> None:
    """FFmpeg 8 reads Apple's boxes, which it writes beside these, and then not these."""
    film = vr_film(tmp_path / "in.mkv", SPHERE)
    target = tmp_path / "out.mp4"
    report = derain_video(film, target, VideoOptions(precision="fp32"), model=identity)
    data = target.read_bytes()
    assert data[data.index(b"st3d") + 8] == 2  # side by side, the left view first
    pose = data[data.index(b"prhd") + 8 :][:12]
    assert struct.unpack(">3i", pose) == (10 << 16, -5 << 16, 5 << 15)
    assert not any("does not keep" in notice for notice in report.notices)


@pytest.mark.parametrize(
    "view",
    [
        Immersive(projection=CUBEMAP, padding=8),
        Immersive(2, TILE, bounds=(1 << 30, 0, 1 << 30, 0)),
        Immersive(stereo_mode=11),
    ],
)
def test_other_kinds_are_kept_in_matroska(
    tmp_path: Path, identity: nn.Module, view: Immersive
) -> None:
    film = vr_film(tmp_path / "in.mkv", view)
    derain_video(film, tmp_path / "out.mkv", VideoOptions(precision="fp32"), model=identity)
    assert seen(tmp_path / "out.mkv") == view


@pytest.mark.parametrize(
    ("target", "codec", "view"),
    [
        ("out.avi", None, SPHERE),
        ("out.mov", None, SPHERE),
        ("out.mp4", None, Immersive(stereo_mode=11)),  # the right view first
        ("out.mp4", "libsvtav1", SPHERE),
    ],
)
def test_what_is_not_kept_is_told(
    tmp_path: Path, identity: nn.Module, target: str, codec: str | None, view: Immersive
) -> None:
    film = vr_film(tmp_path / "in.mkv", view)
    options = VideoOptions(precision="fp32", encoding=Encoding(codec))
    report = derain_video(film, tmp_path / target, options, model=identity)
    assert any(
        "does not keep" in notice and "the stereo mode" in notice for notice in report.notices
    )


def test_kinds_that_matroska_does_not_know_are_left() -> None:
    """Fish-eye lenses, 5 by FFmpeg's count."""

    class Item:
        class type:  # noqa: N801 (as PyAV has it)
            name = "SPHERICAL"

        def __bytes__(self) -> bytes:
            return struct.pack("<4i5I", 5, 0, 0, 0, 0, 0, 0, 0, 0)

    class Image:
        side_data = (Item(),)

    assert immersive(Image()) is None
