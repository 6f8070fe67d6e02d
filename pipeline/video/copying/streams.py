"""Streams of the source that go along as they are: what becomes of each, and of its packets.

Packets are never decoded; only text subtitles change form where the container wants another.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol

import av
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer, OutputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from derain.models.errors import VideoError
from derain.models.log import Log, say_nothing
from derain.pipeline.video.containers import Container
from derain.pipeline.video.copying import subtitles
from derain.pipeline.video.copying.kept import lasting
from derain.pipeline.video.copying.mp4_finalize import Captions, Cover, add_like
from derain.pipeline.video.copying.trial import Filter
from derain.pipeline.video.demuxing import copy_of
from derain.pipeline.video.opening import open_source

if TYPE_CHECKING:
    from av.container.core import Chapter  # only the stubs have it

USUAL_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


class Source(Protocol):
    """What is copied from: a `VideoReader`."""

    name: str
    container: InputContainer
    stream: VideoStream
    others: list[Stream]
    late_video: bool

    def first_packets(self) -> dict[int, list[av.Packet]]:
        """Copies of the first packets of its streams, by the number of the stream."""

    @property
    def origin(self) -> Fraction:
        """The time in the file that becomes 0, in seconds."""


def as_it_is(packet: av.Packet) -> list[av.Packet]:
    """A packet in the form it has."""
    return [packet]


def whole_segments(packet: av.Packet) -> list[av.Packet]:
    """A packet of Blu-ray captions as it is, where it consists of whole segments.

    Of others FFmpeg's muxers make packets of the film.

    Raises:
        InvalidDataError: it does not.
    """
    data, at = bytes(packet), 0
    while at + 3 <= len(data):
        at += 3 + int.from_bytes(data[at + 1 : at + 3], "big")
    if at != len(data):
        raise av.InvalidDataError(errno.EINVAL, "damaged captions")
    return [packet]


@dataclass(slots=True)
class CopiedStream:
    """One stream of the source on its way into the output."""

    output: Stream | None = None  # None while its packets wait for the final file
    late: Captions | None = None  # where they wait
    text: tuple[str, str] | None = None  # text subtitles change from one codec to another
    filter: Filter = as_it_is
    skip: int = 0  # packets that a resumed part already has
    notice: Log = say_nothing  # told once what captions lose where they change

    def convert(self, packet: av.Packet) -> Iterable[av.Packet]:
        """A packet of the source in the form that the output wants; none where it says nothing."""
        if self.text is None:
            return self.filter(packet)
        settings = packet.has_sidedata("webvtt_settings")
        if settings or subtitles.has_place(bytes(packet), self.text[0]):
            self.notice(
                f"Captions of stream {packet.stream_index} that have a place of their own stand "
                f"where others do: {self.text[1]} does not keep it; .mkv does."
            )
        payload = subtitles.convert(bytes(packet), *self.text)
        if payload is None:
            return []
        fresh = av.Packet(payload)
        fresh.pts, fresh.dts, fresh.duration = packet.pts, packet.pts, packet.duration
        fresh.time_base = packet.time_base
        return [fresh]


def add_copy(container: OutputContainer, stream: Stream) -> Stream:
    """Make a stream like one of the source; sound of an unknown layout gets the usual one."""
    copy = add_like(container, stream)
    if stream.type == "audio":
        context = copy.codec_context
        usual = USUAL_LAYOUTS.get(context.layout.nb_channels)
        # FFmpeg calls it "2 channels" where the file does not say which they are.
        if usual is not None and context.layout.name.endswith("channels"):
            context.layout = usual
    return copy


def tags_of(stream: Stream, kind: Container) -> dict[str, str]:
    """The metadata of a stream, in the container's words."""
    tags = lasting(stream.metadata)
    if tags.get("language") in kind.languages:
        tags["language"] = kind.languages[tags["language"]]
    return tags


def bitstream_filter(name: str, stream: Stream) -> Filter:
    """FFmpeg's bitstream filter of that name, for the packets of a stream."""
    bsf = BitStreamFilterContext(name, stream)

    def convert(packet: av.Packet) -> list[av.Packet]:
        time_base = packet.time_base  # the filter empties the packet it is given
        done = list(bsf.filter(packet))
        for each in done:
            each.time_base = time_base
        return done

    return convert


def new_extradata(convert: Filter, packets: list[av.Packet]) -> bytes | None:
    """The header of a stream that a filter takes from its first packets; None where it has none."""
    for packet in map(copy_of, packets):
        with suppress(av.FFmpegError):  # it is damaged, the next may do
            for ready in convert(packet):
                if ready.has_sidedata("new_extradata"):
                    return bytes(ready.get_sidedata("new_extradata"))
    return None


def as_encoded(stream: Stream) -> Filter:
    """What turns a stored packet into the form that encoders give and muxers expect of them.

    H.264 and H.265 come with start codes from the encoder and with lengths from MP4 and Matroska.
    """
    name = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}.get(stream.codec_context.name)
    return as_it_is if name is None else bitstream_filter(name, stream)


def read_cover(source: str, stream: VideoStream) -> Cover | None:
    """The image of a cover stream; None where it cannot be read."""
    with (
        suppress(VideoError, av.FFmpegError, StopIteration),
        open_source(source, None, {}, None, say_nothing) as again,
    ):
        data = bytes(next(again.demux(again.streams[stream.index])))
        return Cover(stream.name, data, stream.width, stream.height)
    return None


def shifted(chapters: list[Chapter], origin: Fraction) -> list[Chapter]:
    """Chapters of a cut that begins at `origin` seconds."""
    if not origin:
        return chapters
    kept = []
    for chapter in chapters:
        ticks = round(origin / chapter["time_base"])
        if chapter["end"] > ticks:
            start = max(0, chapter["start"] - ticks)
            kept.append(chapter | {"start": start, "end": chapter["end"] - ticks})
    return kept
