"""Which streams of a source go along into an output, and in which form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from io import BytesIO

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.stream import AttachmentStream, Stream

from derain.models.log import Log
from derain.pipeline.video.containers import Container
from derain.pipeline.video.copying import subtitles
from derain.pipeline.video.copying.mp4_finalize import Captions, Extras, add_cover, cover_packet
from derain.pipeline.video.copying.silence import SilenceFiller
from derain.pipeline.video.copying.streams import (
    CopiedStream,
    Source,
    add_copy,
    as_it_is,
    bitstream_filter,
    new_extradata,
    read_cover,
    tags_of,
    whole_segments,
)
from derain.pipeline.video.copying.trial import Candidate, Filter, Mode, NewFilm, refusals
from derain.pipeline.video.opening import is_cover


@dataclass(frozen=True, slots=True)
class Output:
    """The file that streams are added to."""

    container: OutputContainer
    kind: Container
    supported: set[str]  # codec names; empty where FFmpeg cannot say
    fragmented: bool
    extras: Extras
    new_video: NewFilm  # adds the encoded film's stream to a trial
    notice: Log

    @property
    def modes(self) -> list[Mode]:
        """Every way in which the streams will be written."""
        muxer, blocks = self.container.format.name, self.kind.rises_in_own_units
        if not self.fragmented:
            return [Mode(muxer, self.kind.part_options, True, blocks)]
        strict = {"strict": self.kind.part_options["strict"]}
        flags = {"movflags": self.container.container_options["movflags"]}
        return [Mode(muxer, flags | strict, False), Mode(muxer, strict, True)]


@dataclass(frozen=True, slots=True)
class _Choice:
    """A stream of the source, tried as `candidate`, and what is done when it is taken."""

    stream: Stream
    candidate: Candidate
    take: Callable[[], None]


def add_streams(output: Output, source: Source) -> dict[int, CopiedStream]:
    """Add all streams but the film to an output; what cannot go in is left out with a notice.

    Returns:
        What becomes of the packets of each stream that goes along, by its number in the source.
    """
    copied: dict[int, CopiedStream] = {}
    first = source.first_packets()
    choices = []
    for stream in source.others:
        if stream.type == "attachment":
            _add_attachment(output, stream)
        elif stream.type == "data":
            _tell_of_data(output, source, stream)
        elif is_cover(stream):
            choices += _cover(output, source.name, stream)
        elif stream.codec_context is None:
            leave_out(output, stream, "its codec is unknown")
        else:
            make = _captions if stream.type == "subtitle" else _copy
            choices.append(make(output, stream, first.get(stream.index, []), copied))
    refused = refusals([each.candidate for each in choices], output.modes, output.new_video)
    for number, choice in enumerate(choices):
        if number in refused:
            leave_out(output, choice.stream, f"{output.kind.suffix} {refused[number]}")
        else:
            choice.take()
    return copied


def leave_out(output: Output, stream: Stream, why: str) -> None:
    """Say that a stream does not go along.

    Args:
        output: that it would go into.
        stream: of the source.
        why: the end of the sentence.
    """
    kind = "Cover image" if is_cover(stream) else f"{stream.type.capitalize()} stream"
    keeper = _keeper(stream, output.container.format.name)
    hint = f"; a {keeper} output may keep it" if keeper else ""
    output.notice(f"{kind} {stream.index} is left out: {why}{hint}.")


def _keeper(stream: Stream, muxer: str) -> str | None:
    """The ending of a container that takes a stream's codec, other than the one that does not."""
    if is_cover(stream):
        return ".mkv"
    if stream.codec_context is None:
        return None
    name = stream.codec_context.name
    for other, suffix in (("matroska", ".mkv"), ("mov", ".mov"), ("nut", ".nut")):
        with av.open(BytesIO(), "w", format=other) as trial:
            if other != muxer and name in trial.supported_codecs:
                return suffix
    return None


def _copy(
    output: Output, stream: Stream, packets: list[av.Packet], copied: dict[int, CopiedStream]
) -> _Choice:
    """Sound, or another film, as it is."""
    new_filter: Callable[[], Filter] = partial(_same, as_it_is)
    extradata = None
    if output.kind.needs_asc and stream.name == "aac" and not stream.codec_context.extradata:
        # As transport streams have it, with a header in each packet instead of one for all.
        new_filter = partial(bitstream_filter, "aac_adtstoasc", stream)
        extradata = new_extradata(new_filter(), packets)
    name = stream.codec_context.name

    def add(container: OutputContainer) -> Stream:
        copy = add_copy(container, stream)
        if extradata is not None:
            copy.codec_context.extradata = extradata
        return copy

    def take() -> None:
        copy = add(output.container)
        if stream.type == "video":
            output.notice(f"Video stream {stream.index} is copied as it is; it keeps its rain.")
        copy.metadata.update(tags_of(stream, output.kind))
        copy.disposition = stream.disposition
        convert = new_filter()
        if isinstance(stream, AudioStream) and output.kind.counts_sound:
            convert = SilenceFiller(stream, convert, output.kind.suffix, output.notice)
        copied[stream.index] = CopiedStream(copy, filter=convert)

    return _Choice(stream, Candidate(name, add, new_filter, packets, source=stream), take)


def _same(convert: Filter) -> Filter:
    return convert


def _captions(
    output: Output, stream: Stream, packets: list[av.Packet], copied: dict[int, CopiedStream]
) -> _Choice:
    """Subtitles, in the form that the container has for them."""
    codec = stream.codec_context.name
    target = subtitles.target_codec(codec, output.supported)
    template: Stream | str = stream
    made = CopiedStream()
    if target is not None and target != codec:
        template, made.text, made.notice = target, (codec, target), output.notice
    if stream.codec_context.codec.canonical_name == "hdmv_pgs_subtitle":
        made.filter = whole_segments
    captions = Captions(template, tags_of(stream, output.kind), stream.disposition)

    def take() -> None:
        if made.text is not None:
            output.notice(f"Subtitles {stream.index} change from {codec} to {target}.")
        if output.fragmented:
            made.late = captions
            output.extras.captions.append(captions)
        else:
            made.output = captions.add_to(output.container)
        copied[stream.index] = made

    # Captions may begin late, but some containers have no code for them; this shows it, too.
    packets = packets or [_blank(codec)]
    candidate = Candidate(
        codec, captions.add_to, partial(_same, made.convert), packets, output.fragmented
    )
    return _Choice(stream, candidate, take)


def _blank(codec: str) -> av.Packet:
    """A caption that says nothing, in a form that muxers take for one."""
    text = b"0,0,Default,,0,0,0,,-" if codec in ("ass", "ssa") else b"-"
    packet = av.Packet(b"\0\1-" if codec == "mov_text" else text)
    packet.pts = packet.dts = 0
    packet.duration, packet.time_base, packet.is_keyframe = 1000, Fraction(1, 1000), True
    return packet


def _cover(output: Output, source: str, stream: Stream) -> list[_Choice]:
    """A cover is an attachment in Matroska; in MP4 it must wait for the final file."""
    if output.kind.covers is None:
        leave_out(output, stream, f"{output.kind.suffix} has no place for covers")
        return []
    cover = read_cover(source, stream)
    if cover is None:
        leave_out(output, stream, "it cannot be read")
    elif output.kind.covers == "stream":
        add = partial(add_cover, cover=cover)
        candidate = Candidate(
            cover.codec, add, partial(_same, as_it_is), [cover_packet(cover)], late=True
        )
        return [_Choice(stream, candidate, lambda: output.extras.covers.append(cover))]
    else:
        kind = cover.codec.replace("mjpeg", "jpeg")
        name = f"cover.{kind.replace('jpeg', 'jpg')}"
        output.container.add_attachment(name, f"image/{kind}", cover.data)
    return []


def _add_attachment(output: Output, stream: AttachmentStream) -> None:
    if not output.kind.attachments:
        text = f"The attachment {stream.name} is left out: only .mkv holds attachments."
        return output.notice(text)
    name = stream.metadata.get("filename", f"attachment{stream.index}")
    kind = stream.mimetype or "application/octet-stream"
    output.container.add_attachment(name, kind, stream.data)


def _tell_of_data(output: Output, source: Source, stream: Stream) -> None:
    # Chapters and time codes are data in MP4, and come along by other ways.
    chapters = stream.frames and stream.frames == len(source.container.chapters())
    if not chapters and "timecode" not in stream.metadata:
        words = stream.metadata.get("handler_name", "").strip("\0 \t")
        name = f" ({words})" if words else ""
        output.notice(f"Data stream {stream.index}{name} cannot be copied; it is left out.")
