"""Putting a complete fragmented MP4 in its usual order, with what could not go into the part file.

FFmpeg's fragments hold neither captions (it aborts) nor covers; both wait here for the final file.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from io import BytesIO
from math import floor, lcm
from pathlib import Path
from typing import Any

import av

from derain.pipeline.video.paths import local


@dataclass(frozen=True, slots=True)
class Cover:
    """A still picture that goes into the file as it is."""

    codec: str
    data: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Captions:
    """A subtitle stream whose packets wait for the final file; they are small."""

    template: Any  # the source's stream, or the name of a codec
    metadata: dict[str, str]
    disposition: int
    packets: deque[av.Packet] = field(default_factory=deque)

    def add_to(self, container: Any) -> Any:
        """Make a stream for them."""
        if isinstance(self.template, str):
            stream = container.add_mux_stream(self.template)
            stream.time_base = Fraction(1, 1000)
        else:
            stream = container.add_stream_from_template(self.template)
        stream.metadata.update(self.metadata)
        stream.disposition = self.disposition
        return stream


NONE = -(2**63)  # stands for a time stamp that is not there


def in_units_of(packet: av.Packet, base: Fraction) -> None:
    """Count a packet's time stamps and duration in another unit, rounded."""
    for name in ("pts", "dts", "duration"):
        ticks = getattr(packet, name)
        if ticks is not None:
            setattr(packet, name, round(ticks * packet.time_base / base))
    packet.time_base = base


@dataclass(slots=True)
class Stamps:
    """The true time stamps of a stream's packets, in order.

    FFmpeg moves the first packet of a fragment to where it thinks that the one before it ends.
    """

    base: Fraction = Fraction(0)
    pts: array[int] = field(default_factory=lambda: array("q"))
    dts: array[int] = field(default_factory=lambda: array("q"))

    def add(self, packet: av.Packet) -> None:
        """Note a packet's."""
        base = packet.time_base
        self.base = self.base or base
        same = base == self.base
        for own, ticks in ((self.pts, packet.pts), (self.dts, packet.dts)):
            scaled = ticks if same or ticks is None else round(ticks * base / self.base)
            own.append(NONE if scaled is None else scaled)

    def put(self, index: int, packet: av.Packet) -> None:
        """Give packet number `index` its own back."""
        if index < len(self.pts):
            in_units_of(packet, self.base)
            packet.pts = None if self.pts[index] == NONE else self.pts[index]
            packet.dts = None if self.dts[index] == NONE else self.dts[index]


@dataclass(slots=True)
class Extras:
    """What goes into the final file besides the streams of the part."""

    metadata: dict[str, str] = field(default_factory=dict)
    chapters: list[Any] = field(default_factory=list)
    covers: list[Cover] = field(default_factory=list)
    captions: list[Captions] = field(default_factory=list)
    stamps: dict[int, Stamps] = field(default_factory=dict)  # by stream of the part


def stamp(packet: av.Packet) -> Fraction:
    """When a packet is due, in seconds."""
    ticks = packet.dts if packet.dts is not None else packet.pts
    return Fraction(0) if ticks is None else ticks * packet.time_base


def exact_timescale(streams: list[Any]) -> str:
    """A unit for edit lists in which all streams' start times are whole numbers.

    FFmpeg's is a millisecond, which would move streams against each other.
    """
    bases = [s.time_base for s in streams if s.time_base]
    for stream in streams:
        rate = stream.type == "audio" and stream.codec_context and stream.codec_context.sample_rate
        bases += [Fraction(1, rate)] if rate else []
    exact = lcm(*[base.denominator for base in bases])
    return str(exact if exact < 2**31 else max(base.denominator for base in bases))


def rising(packet: av.Packet, last: dict[int, Fraction]) -> None:
    """Make time stamps rise, as muxers demand; `last` has each stream's last one in seconds."""
    index, base = packet.stream.index, packet.time_base
    if packet.dts is None or not base:
        return
    now = packet.dts * base
    if index in last and now <= last[index]:
        packet.dts = floor(last[index] / base) + 1
        packet.pts = packet.dts if packet.pts is None else max(packet.pts, packet.dts)
        now = packet.dts * base
    last[index] = now


def remux(
    part: Path, target: Path, extras: Extras, notice: Callable[[str], None] = lambda text: None
) -> None:
    """Copy all packets of a fragmented MP4 to a plain one with its index in front."""
    flags = "faststart"
    if any(key.startswith("com.") for key in extras.metadata):
        flags += "+use_metadata_tags"
    with av.open(local(part), metadata_errors="replace") as source:
        options = {"movflags": flags, "movie_timescale": exact_timescale(list(source.streams))}
        words, picture = dict(extras.metadata), source.streams.video[0]
        if "timecode" in words and not _takes_timecode(picture, target, words["timecode"]):
            notice(f"The time code {words.pop('timecode')} is left out: FFmpeg refuses it.")
        with av.open(local(target), "w", container_options=options) as out:
            out.metadata.update(words)
            if extras.chapters:
                out.set_chapters(extras.chapters)
            streams = {}
            for stream in source.streams:
                if stream.type == "data":  # FFmpeg made it of metadata, and does so again
                    continue
                copy = out.add_stream_from_template(stream)
                if "timecode" in words and stream is picture:
                    _count_frames(copy, picture)
                if stream.type == "video" and stream.sample_aspect_ratio:
                    copy.sample_aspect_ratio = stream.sample_aspect_ratio
                copy.metadata.update(stream.metadata)
                copy.disposition = stream.disposition
                streams[stream.index] = copy
            captions = [(late.packets, late.add_to(out)) for late in extras.captions]
            for cover in extras.covers:
                _add_cover(out, cover)
            last: dict[int, Fraction] = {}
            counts = dict.fromkeys(streams, 0)
            for packet in source.demux():
                if not packet.size:
                    continue
                index = packet.stream_index
                if index not in streams:
                    continue
                extras.stamps.get(index, Stamps()).put(counts[index], packet)
                counts[index] += 1
                for packets, stream in captions:
                    while packets and stamp(packets[0]) <= stamp(packet):
                        _write(out, packets.popleft(), stream, last)
                _write(out, packet, streams[index], last)
            for packets, stream in captions:
                for packet in packets:
                    _write(out, packet, stream, last)


def _count_frames(copy: Any, picture: Any) -> None:
    """A time code counts frames: FFmpeg must know how many a second."""
    if picture.average_rate:
        copy.codec_context.framerate = picture.average_rate


def _takes_timecode(picture: Any, target: Path, timecode: str) -> bool:
    """Whether FFmpeg can write a time code, or says only with the header that it cannot."""
    name = "mov" if target.suffix.lower() == ".mov" else "mp4"
    try:
        with av.open(BytesIO(), "w", format=name) as trial:
            _count_frames(trial.add_stream_from_template(picture), picture)
            trial.metadata["timecode"] = timecode
            trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True


def _write(out: Any, packet: av.Packet, stream: Any, last: dict[int, Fraction]) -> None:
    packet.stream = stream
    rising(packet, last)
    out.mux_one(packet)


def _add_cover(out: Any, cover: Cover) -> None:
    stream = out.add_mux_stream(cover.codec, width=cover.width, height=cover.height)
    stream.disposition = av.stream.Disposition.attached_pic
    packet = av.Packet(cover.data)
    packet.stream, packet.time_base = stream, Fraction(1, 90000)
    packet.pts = packet.dts = 0
    packet.is_keyframe = True
    out.mux_one(packet)
