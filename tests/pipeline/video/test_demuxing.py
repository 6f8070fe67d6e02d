"""Packets as they come: looking ahead loses none, and where each stream has come to."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest

from derain.pipeline.video.demuxing import FIRST, PATIENCE, PacketReader, copy_of


def payloads(reader: PacketReader) -> list[bytes]:
    return [bytes(packet) for packet in reader if packet.size]


def test_looking_ahead_changes_nothing_of_what_comes(make_clip: Callable[..., Path]) -> None:
    source = str(make_clip("in.mkv", frames=25, audio="aac"))
    with av.open(source) as container:
        plain = payloads(PacketReader(container, source, print))
    with av.open(source) as container:
        reader = PacketReader(container, source, print)
        first = reader.look_ahead()
        assert payloads(reader) == plain
    assert {len(packets) for packets in first.values()} == {FIRST}
    assert all(bytes(packet) in plain for packets in first.values() for packet in packets)


def test_counts_and_ends_are_of_each_stream(make_clip: Callable[..., Path]) -> None:
    source = str(make_clip("in.mkv", frames=25, audio="aac"))
    with av.open(source) as container:
        reader = PacketReader(container, source, print)
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert reader.end_of(video) is None
        payloads(reader)
        assert reader.counts[video.index] == 25
        assert float(reader.end_of(video) or 0) == pytest.approx(1.0, abs=0.002)
        assert float(reader.end_of(audio) or 0) == pytest.approx(1.0, abs=0.05)
        assert reader.whole and not reader.broken and reader.damaged == 0


def test_winding_forgets_what_was_read_ahead(make_clip: Callable[..., Path]) -> None:
    source = str(make_clip("in.mkv", frames=25, audio="aac"))
    with av.open(source) as container:
        reader = PacketReader(container, source, print)
        reader.look_ahead()
        container.seek(0)
        reader.rewound()
        assert not reader.whole
        assert sum(1 for packet in reader if packet.stream_index == 0 and packet.size) == 25


class Broken:
    """A container that fails again and again, or falls silent."""

    def __init__(self, error: Exception, packets: int = 0) -> None:
        self.error, self.packets, self.asked = error, packets, 0
        self.streams: list[object] = []

    def demux(self, streams: list[object]) -> object:
        self.asked += 1
        for _ in range(self.packets):
            packet = av.Packet(b"x")
            packet.time_base = Fraction(1, 25)
            yield packet
        raise self.error


def test_a_damaged_file_is_not_tried_for_ever() -> None:
    said: list[str] = []
    container = Broken(av.InvalidDataError(1, "damaged"))
    reader = PacketReader(container, "a.mkv", said.append)  # type: ignore[arg-type]
    assert list(reader) == []
    assert reader.damaged == container.asked == PATIENCE
    assert said == ["a.mkv cannot be read to its end."] == [reader.broken]


def test_a_source_that_falls_silent_is_asked_once() -> None:
    said: list[str] = []
    container = Broken(TimeoutError(), packets=2)
    reader = PacketReader(container, "x", said.append)  # type: ignore[arg-type]
    assert len(list(reader)) == 2
    assert container.asked == 1 and said == ["x sends nothing more; it ends there."]


def test_a_copy_may_be_changed() -> None:
    packet = av.Packet(b"abc")
    packet.time_base = Fraction(1, 25)
    packet.pts, packet.dts, packet.duration, packet.is_keyframe = 3, 2, 1, True
    copy = copy_of(packet)
    copy.pts = 9
    assert (packet.pts, copy.dts, copy.duration, copy.is_keyframe) == (3, 2, 1, True)
    assert bytes(copy) == b"abc"
