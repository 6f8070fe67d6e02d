"""Dolby Vision, HDR10+ and the ambient light go along with the frames they belong to."""

from __future__ import annotations

import json
import struct
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from torch import nn

from derain.pipeline.streaming.derain_video import derain_video
from derain.pipeline.streaming.options import Report, VideoOptions
from derain.pipeline.video import Encoding
from derain.pipeline.video.copying.hdr_units import (
    UnitReader,
    ambient_unit,
    kind_of,
    name_of,
    with_units,
)
from derain.pipeline.video.copying.track_header import TrackMarks, template

FRAMES = 6
# Profile 8.1, level 1, one layer, with RPU.
RECORD = b"dvvC" + bytes([1, 0, 8 << 1, 1 << 3 | 0b101, 1 << 4]) + bytes(19)
AMBIENT = struct.pack("<6i", 314, 100, 3127, 10000, 329, 1000)


def hdr10_plus(brightest: int) -> bytes:
    """A unit of SEI with the metadata of HDR10+ for one window."""
    fields = [(0xB5, 8), (0x3C, 16), (1, 16), (4, 8), (1, 8), (1, 2), (400, 27), (0, 1)]
    fields += [(brightest, 17)] * 3 + [(0, 17), (0, 4), (0, 10), (0, 1), (0, 1), (0, 1)]
    bits = "".join(f"{value:0{width}b}" for value, width in fields)
    bits += "0" * (-len(bits) % 8)
    payload = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return bytes([39 << 1, 1, 4, len(payload)]) + payload + b"\x80"


def rpu(number: int) -> bytes:
    """A unit of the kind that Dolby Vision has, which tells its frame."""
    return bytes([62 << 1, 1, 0x19, 0x08, 0x09, number + 16, 0x80])


def film(path: Path, late: int = 0) -> Path:
    """Six frames of ten bits, each from `late` on with its own units."""
    like = template(TrackMarks(dolby_vision=RECORD), "libx265", (64, 64))
    assert like is not None
    with av.open(str(path), "w", container_options={"strict": "unofficial"}) as out:
        stream = out.add_stream_from_template(like.streams.video[0])
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = 64, 64, "yuv420p10le"
        context.framerate, context.time_base = Fraction(25), Fraction(1, 25)
        context.options = {"preset": "ultrafast", "x265-params": "log-level=none:bframes=2"}
        context.flags |= av.codec.context.Flags.global_header
        context.open(strict=False)
        stream.time_base = context.time_base
        packets = []
        for index in range(FRAMES):
            frame = av.VideoFrame(64, 64, "yuv420p10le")
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            frame.pts, frame.time_base = index, Fraction(1, 25)
            packets += stream.encode(frame)
        for packet in packets + stream.encode(None):
            own = [hdr10_plus(1000 + packet.pts), rpu(packet.pts)] if packet.pts >= late else []
            if packet.pts == 0:
                own.append(ambient_unit(AMBIENT) or b"")
            out.mux(with_units(packet, own))
    return path


def units(path: Path) -> dict[int, list[str]]:
    """What the units of each packet are, by the number of its frame."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        reader = UnitReader(stream.codec_context)
        return {
            round(packet.pts * packet.time_base * 25): sorted(
                f"{name_of(unit)} {unit[-2] if kind_of(unit) == 62 else ''}".strip()
                for unit in reader.read(bytes(packet))
            )
            for packet in file.demux(stream)
            if packet.size
        }


def probe(path: Path, *show: str) -> Any:
    command = ["ffprobe", "-v", "quiet", *show, "-of", "json", str(path)]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def derain(source: Path, target: Path, model: nn.Module, codec: str | None = None) -> Report:
    options = VideoOptions(precision="fp32", encoding=Encoding(codec, preset="ultrafast"))
    return derain_video(source, target, options, model=model)


@pytest.mark.parametrize("names", [("in.mkv", "out.mp4"), ("in.mp4", "out.mkv")])
def test_each_frame_keeps_its_own(
    tmp_path: Path, invert: nn.Module, names: tuple[str, str]
) -> None:
    source, target = film(tmp_path / names[0]), tmp_path / names[1]
    report = derain(source, target, invert)
    expected = {n: [f"Dolby Vision {n + 16}", "HDR10+"] for n in range(FRAMES)}
    assert units(source) == units(target) == expected
    assert not any("not keep" in notice for notice in report.notices)
    stream = probe(target, "-show_streams")["streams"][0]
    records = [s for s in stream["side_data_list"] if "DOVI" in s["side_data_type"]]
    assert [(r["dv_profile"], r["dv_bl_signal_compatibility_id"]) for r in records] == [(8, 1)]
    shown = probe(target, "-show_frames")["frames"]
    dynamic = [
        side["maxscl"]
        for frame in shown
        for side in frame["side_data_list"]
        if "SMPTE2094-40" in side["side_data_type"]
    ]
    assert dynamic == [f"{1000 + n}/100000" for n in range(FRAMES)]
    with av.open(str(target)) as file:
        frame = next(file.decode(video=0))
        ambient = next(s for s in frame.side_data if s.type.value == 26)
        assert struct.unpack("<6i", bytes(ambient)[:24])[::2] == (31400, 15635, 16450)


@pytest.mark.parametrize(
    ("target", "codec", "late", "lost", "kept"),
    [
        ("out.mov", None, 0, "Dolby Vision", {"HDR10+"}),
        ("out.mkv", "libx264", 0, "the ambient light and HDR10+ and Dolby Vision", set()),
        ("out.mkv", "libx264", 3, "HDR10+, which later frames have", set()),
    ],
)
def test_what_is_lost_is_told(
    tmp_path: Path,
    identity: nn.Module,
    target: str,
    codec: str | None,
    late: int,
    lost: str,
    kept: set[str],
) -> None:
    source = film(tmp_path / "in.mkv", late)
    report = derain(source, tmp_path / target, identity, codec)
    assert any("does not keep" in n and lost in n for n in report.notices), report.notices
    if codec is None:
        assert {name for names in units(tmp_path / target).values() for name in names} == kept


def test_two_films_side_by_side_keep_none(tmp_path: Path, identity: nn.Module) -> None:
    source, target = film(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    derain_video(source, target, VideoOptions(precision="fp32", compare="side"), model=identity)
    assert not any(units(target).values())


def test_messages_are_found_among_others_and_escaped() -> None:
    """Behind a message of 300 bytes, and with zeros that would look like a start code."""
    payload = bytes.fromhex("b5003c000104") + b"\0\0\3\0\0\3\1"  # as files have five bytes
    unit = bytes([39 << 1, 1, 5, 255, 45]) + b"\1" * 300 + b"\4\x0b" + payload + b"\x80"
    reader = UnitReader(av.CodecContext.create("hevc", "r"))
    found = reader.read(b"\0\0\0\1" + unit + b"\0\0\1\x26\1samples")
    assert found == (bytes([39 << 1, 1]) + b"\4\x0b" + payload + b"\x80",)
    assert name_of(found[0]) == "HDR10+"
    assert UnitReader(av.CodecContext.create("h264", "r")).active is False


@pytest.mark.parametrize("data", [None, b"short", struct.pack("<6i", 1, 0, 1, 1, 1, 1)])
def test_half_of_the_ambient_light_is_none(data: bytes | None) -> None:
    assert ambient_unit(data) is None
