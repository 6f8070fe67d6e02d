"""Putting a complete fragmented MP4 in its usual order, with what could not go into the part file.

FFmpeg's fragments hold neither captions (it aborts) nor covers; both wait here for the final file.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.codec.codec import UnknownCodecError
from av.container import InputContainer, OutputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from derain.models.log import Log, say_nothing
from derain.pipeline.video.containers import Container
from derain.pipeline.video.copying.kept import has_free_tags
from derain.pipeline.video.copying.track_header import TrackMarks, add_again
from derain.pipeline.video.paths import local
from derain.pipeline.video.timestamps import (
    TimestampLog,
    enforce_monotonic_dts,
    exact_timescale,
    stamp,
)

if TYPE_CHECKING:
    from av.container.core import Chapter  # only the stubs have it


def add_like(container: OutputContainer, stream: Stream) -> Stream:
    """A stream for the packets of another one, whose decoder may have no encoder of its name."""
    try:
        av.Codec(stream.codec_context.codec.name, "w")
    except UnknownCodecError:
        return container.add_stream_from_template(stream, opaque=True)
    return container.add_stream_from_template(stream)


@dataclass(frozen=True, slots=True)
class Cover:
    """A still image that goes into the file as it is."""

    codec: str
    data: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Captions:
    """A subtitle stream whose packets wait for the final file; they are small."""

    template: Stream | str  # the source's stream, or the name of a codec
    metadata: dict[str, str]
    disposition: int
    packets: deque[av.Packet] = field(default_factory=deque)

    def add_to(self, container: OutputContainer) -> Stream:
        """Make a stream for them."""
        if isinstance(self.template, str):
            stream = container.add_mux_stream(self.template)
            stream.time_base = Fraction(1, 1000)
        else:
            stream = add_like(container, self.template)
        stream.metadata.update(self.metadata)
        stream.disposition = self.disposition
        return stream


@dataclass(slots=True)
class Extras:
    """What goes into the final file besides the streams of the part."""

    metadata: dict[str, str] = field(default_factory=dict)
    chapters: list[Chapter] = field(default_factory=list)
    covers: list[Cover] = field(default_factory=list)
    captions: list[Captions] = field(default_factory=list)
    marks: TrackMarks = TrackMarks()  # noqa: RUF009 (frozen)
    stamps: dict[int, TimestampLog] = field(default_factory=dict)  # by stream of the part


def remux(
    part: Path, target: Path, extras: Extras, kind: Container, notice: Log = say_nothing
) -> None:
    """Copy all packets of a fragmented MP4 to a plain one with its index in front.

    Args:
        part: the complete fragmented file.
        target: the file to make.
        extras: what the fragments could not hold, and the true time stamps of what they do.
        kind: the record of the target's container.
        notice: told what is left out.

    Raises:
        FFmpegError, OSError, ValueError: FFmpeg cannot write it.
    """
    flags = "faststart"
    if has_free_tags(extras.metadata):
        flags += "+use_metadata_tags"
    with av.open(local(part), metadata_errors="replace") as source:
        options = {"movflags": flags, "movie_timescale": exact_timescale(list(source.streams))}
        options["strict"] = kind.part_options["strict"]
        words, film = dict(extras.metadata), source.streams.video[0]
        if "timecode" in words and not _takes_timecode(film, kind, words["timecode"]):
            notice(f"The time code {words.pop('timecode')} is left out: FFmpeg refuses it.")
        with av.open(local(target), "w", container_options=options) as out:
            out.metadata.update(words)
            if extras.chapters:
                out.set_chapters(extras.chapters)
            streams = {}
            for stream in source.streams:
                if stream.type == "data":  # FFmpeg made it of metadata, and does so again
                    continue
                copy = None
                if extras.marks and stream is film:
                    copy = add_again(out, film, extras.marks)
                copy = copy or add_like(out, stream)
                if "timecode" in words and stream is film:
                    _count_frames(copy, film)
                if stream.type == "video" and stream.sample_aspect_ratio:
                    copy.sample_aspect_ratio = stream.sample_aspect_ratio
                copy.metadata.update(stream.metadata)
                copy.disposition = stream.disposition
                streams[stream.index] = copy
            captions = [(late.packets, late.add_to(out)) for late in extras.captions]
            for cover in extras.covers:
                covered = add_cover(out, cover)
                packet = cover_packet(cover)
                packet.stream = covered
                out.mux_one(packet)
            _copy_packets(source, out, streams, captions, extras.stamps)


def _copy_packets(
    source: InputContainer,
    out: OutputContainer,
    streams: dict[int, Stream],
    captions: list[tuple[deque[av.Packet], Stream]],
    stamps: dict[int, TimestampLog],
) -> None:
    """Write all packets of `source` with their true time stamps, and the captions among them."""
    last: dict[int, Fraction] = {}
    counts = dict.fromkeys(streams, 0)
    for packet in source.demux():
        if not packet.size:
            continue
        index = packet.stream_index
        if index not in streams:
            continue
        stamps.get(index, TimestampLog()).restore(counts[index], packet)
        counts[index] += 1
        for packets, stream in captions:
            while packets and stamp(packets[0]) <= stamp(packet):
                _write(out, packets.popleft(), stream, last)
        _write(out, packet, streams[index], last)
    for packets, stream in captions:
        for packet in packets:
            _write(out, packet, stream, last)


def contents_of(part: Path) -> str:
    """What a part holds, counted, for the sentence that says why there is no final file."""
    try:
        with av.open(local(part), metadata_errors="replace") as file:
            frames = sum(bool(packet.size) for packet in file.demux(file.streams.video[0]))
    except (av.FFmpegError, OSError, ValueError, IndexError):
        return f"{part} does not open either"
    return f"{part} opens and holds {frames} frames"


def _count_frames(copy: VideoStream, film: VideoStream) -> None:
    """A time code counts frames: FFmpeg must know how many a second."""
    if film.average_rate:
        copy.codec_context.framerate = film.average_rate


def _takes_timecode(film: VideoStream, kind: Container, timecode: str) -> bool:
    """Whether FFmpeg can write a time code, or says only with the header that it cannot."""
    try:
        with av.open(BytesIO(), "w", format=kind.muxer) as trial:
            _count_frames(add_like(trial, film), film)
            trial.metadata["timecode"] = timecode
            trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True


def _write(
    out: OutputContainer, packet: av.Packet, stream: Stream, last: dict[int, Fraction]
) -> None:
    packet.stream = stream
    enforce_monotonic_dts(packet, last)
    out.mux_one(packet)


def add_cover(container: OutputContainer, cover: Cover) -> Stream:
    """Make a stream for a cover."""
    stream = container.add_mux_stream(cover.codec, width=cover.width, height=cover.height)
    stream.disposition = Disposition.attached_pic
    return stream


def cover_packet(cover: Cover) -> av.Packet:
    """The one packet of a cover."""
    packet = av.Packet(cover.data)
    packet.time_base = Fraction(1, 90000)
    packet.pts = packet.dts = 0
    packet.is_keyframe = True
    return packet
