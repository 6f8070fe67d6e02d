"""The output file: parts, interleaving, packets that are refused, moving into place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import av
import pytest
from torch import nn

from derain.models.errors import VideoError
from derain.pipeline.streaming.options import Report
from derain.pipeline.video import VideoReader
from derain.pipeline.video.copying.mp4_finalize import add_like
from derain.pipeline.video.muxer import Muxer

FRAMES = 25


@pytest.fixture
def source(make_clip: Callable[..., Path]) -> Path:
    """A second of film with sound."""
    return make_clip("in.mkv", frames=FRAMES, audio="aac")


def packets_of(path: Path, kind: str) -> Iterator[av.Packet]:
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.size and packet.stream.type == kind:
                yield packet


def copy_film(source: Path, muxer: Muxer, sound_first: bool = True) -> None:
    """Give a muxer the film's packets as an encoder would, and the sound."""
    with VideoReader(source) as reader:
        new_video = partial(add_like, stream=reader.stream)
        film = new_video(muxer.container)
        muxer.add_others(reader, new_video)
        sound = reader.copied_packets()
        if sound_first:
            for packet in sound:
                muxer.write_other(packet)
        for packet in packets_of(source, "video"):
            packet.stream = film
            muxer.write_video(packet)
        for packet in sound:
            muxer.write_other(packet)
        muxer.close()


@pytest.mark.parametrize("name", ["out.mkv", "out.mp4", "out.ts"])
@pytest.mark.parametrize("sound_first", [True, False])
def test_streams_come_interleaved_however_the_encoder_lags(
    source: Path, name: str, sound_first: bool
) -> None:
    target = source.with_name(name)
    muxer = Muxer(target)
    copy_film(source, muxer, sound_first)
    assert not target.exists() and muxer.part.exists()
    assert muxer.publish() == target
    assert [path.name for path in sorted(source.parent.iterdir())] == sorted(["in.mkv", name])
    with av.open(str(target)) as container:
        found = [
            (packet.stream.type, float(packet.dts * packet.time_base))
            for packet in container.demux()
            if packet.size and packet.dts is not None
        ]
    assert sum(kind == "video" for kind, _ in found) == FRAMES
    times = [time for _, time in found]
    if sound_first:  # within a packet or two of each other
        assert all(b > a - 0.15 for a, b in pairwise(times))


def test_copied_packets_are_the_source_to_the_last_bit(source: Path) -> None:
    target = source.with_name("out.mp4")
    muxer = Muxer(target)
    copy_film(source, muxer)
    muxer.publish()
    for kind in ("video", "audio"):
        before, after = (list(map(bytes, packets_of(path, kind))) for path in (source, target))
        assert len(after) == len(before) > 10
        if kind == "audio":
            assert after == before


def test_what_is_there_is_kept_unless_it_may_be_replaced(source: Path) -> None:
    target = source.with_name("out.mkv")
    target.write_bytes(b"old")
    with pytest.raises(VideoError, match="-y"):
        Muxer(target)
    muxer = Muxer(target, overwrite=True)
    copy_film(source, muxer)
    assert target.read_bytes() == b"old"  # until it is published
    muxer.publish()
    assert target.stat().st_size > 1000


def test_giving_up_leaves_nothing_or_what_plays(source: Path) -> None:
    for keep in (False, True):
        muxer = Muxer(source.with_name("out.mkv"), overwrite=True)
        copy_film(source, muxer)
        muxer.abandon(keep=keep)
        assert muxer.part.exists() == keep
        assert not muxer.target.exists()


def test_a_part_is_gone_on_from_at_any_frame(source: Path) -> None:
    target = source.with_name("out.mkv")
    muxer = Muxer(target)
    copy_film(source, muxer)
    previous = muxer.part.rename(source.with_name("previous.mkv"))
    muxer.abandon()
    again = Muxer(target, overwrite=True)
    with VideoReader(source) as reader:
        new_video = partial(add_like, stream=reader.stream)
        film = new_video(again.container)
        again.add_others(reader, new_video)
        again.copy_part(previous, 10, film)
        for number, packet in enumerate(packets_of(source, "video")):
            if number >= 10:
                packet.stream = film
                again.write_video(packet)
        for packet in reader.copied_packets():  # all of them; those in the part are skipped
            again.write_other(packet)
        again.close()
    again.publish()
    assert sum(1 for _ in packets_of(target, "video")) == FRAMES
    expected = [bytes(packet) for packet in packets_of(source, "audio")]
    assert [bytes(packet) for packet in packets_of(target, "audio")] == expected


def test_a_part_that_holds_less_is_told(source: Path) -> None:
    previous = source.rename(source.with_name("previous.mkv"))
    muxer = Muxer(previous.with_name("out.mkv"))
    with VideoReader(previous) as reader:
        new_video = partial(add_like, stream=reader.stream)
        film = new_video(muxer.container)
        muxer.add_others(reader, new_video)
        with pytest.raises(VideoError, match="is incomplete"):
            muxer.copy_part(previous, FRAMES + 1, film)
    muxer.abandon()


def test_every_packet_of_the_film_is_told_as_it_is_written(source: Path) -> None:
    muxer = Muxer(source.with_name("out.mkv"))
    sizes: list[int] = []
    muxer.on_packet = lambda packet: sizes.append(packet.size)
    copy_film(source, muxer)
    muxer.publish()
    assert sizes == [packet.size for packet in packets_of(source, "video")]


def test_a_container_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"out\.nosuch cannot be made"):
        Muxer(tmp_path / "out.nosuch")
    assert list(tmp_path.iterdir()) == []


def test_sound_that_is_damaged_costs_its_packets_alone(
    make_clip: Callable[..., Path], run: Callable[..., tuple[Path, Report]], identity: nn.Module
) -> None:
    """Packets of AAC that say they had a checksum behind their header, which is none."""
    source = make_clip("in.ts", frames=FRAMES, audio="aac")
    data = source.read_bytes()
    headers = [match.start() for match in re.finditer(b"\xff\xf1[\x4c\x50]", data)]
    spoiled = bytearray(data)
    for place in headers[5:7]:
        spoiled[place + 6] |= 3  # four blocks in one packet, which FFmpeg does not take apart
        spoiled[place + 1] = 0xF0
    source.write_bytes(spoiled)
    target, report = run(source, "out.mp4", identity)
    assert report.frames_out == FRAMES
    with av.open(str(target)) as file:
        count = sum(bool(packet.size) for packet in file.demux(audio=0))
    with av.open(str(source)) as file:
        before = sum(bool(packet.size) for packet in file.demux(audio=0))
    assert count == before - 2
    assert any("left out (2): .mp4 refuses them" in notice for notice in report.notices)
