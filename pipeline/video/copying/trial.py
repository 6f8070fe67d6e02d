"""Trying streams in the container that will be written, before any work is done.

Many muxers refuse a stream with the header or with its first packet alone, and some only beside
other streams. So each mode of writing is tried in memory: all streams at once, and one by one where
that fails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from derain.pipeline.video.demuxing import copy_of
from derain.pipeline.video.timestamps import enforce_monotonic_dts, in_units_of

Filter = Callable[[av.Packet], Iterable[av.Packet]]
NewStream = Callable[[OutputContainer], Stream]
NewFilm = Callable[[OutputContainer], VideoStream]

# What FFmpeg calls the readers of what is too short to be known by itself.
BLANK = 3  # frames that some muxers want to see beside the sound
READERS = {"mpegts": "mpegts", "mpeg": "mpeg", "vob": "mpeg", "svcd": "mpeg", "dvd": "mpeg"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stream that may go into the output."""

    name: str  # of its codec, for the sentence
    add: NewStream
    new_filter: Callable[[], Filter]
    packets: list[av.Packet]  # the first of the source
    late: bool = False  # goes into the final file, not into the part
    source: Stream | None = None  # that the packets are of, where they stay as they are


@dataclass(frozen=True, slots=True)
class Mode:
    """One way in which the output will be written."""

    muxer: str  # FFmpeg's name
    options: Mapping[str, str]
    takes_late: bool
    rises_in_own_units: bool = False


def refusals(candidates: list[Candidate], modes: list[Mode], new_video: NewFilm) -> dict[int, str]:
    """Which candidates cannot go in, by their number, and why.

    Args:
        candidates: in the order of their streams.
        modes: every way in which the output will be written.
        new_video: adds the encoded film's stream, without which some containers take nothing.
    """
    if not candidates or _reason(candidates, modes, new_video) is None:
        return {}
    accepted: list[Candidate] = []
    refused = {}
    for number, candidate in enumerate(candidates):
        reason = _reason([*accepted, candidate], modes, new_video)
        if reason is None:
            accepted.append(candidate)
        else:
            refused[number] = reason
    return refused


def _reason(candidates: list[Candidate], modes: Iterable[Mode], new_video: NewFilm) -> str | None:
    """Why a file of the film and these, the last of which is new, cannot be; None if it can."""
    for mode in modes:
        chosen = [each for each in candidates if mode.takes_late or not each.late]
        try:
            try:
                _write(chosen, mode, new_video, frames=0)
            except _RefusedError:  # MXF takes no sound without video
                _write(chosen, mode, new_video, frames=BLANK)
        except _RefusedError as error:
            return str(error)
    return None


class _RefusedError(Exception):
    """A muxer said no."""


def _write(candidates: list[Candidate], mode: Mode, new_video: NewFilm, frames: int) -> None:
    file = BytesIO()
    trial = av.open(file, "w", format=mode.muxer, container_options=dict(mode.options))
    name = candidates[-1].name if candidates else "the film"
    try:
        film = new_video(trial)
        streams = [each.add(trial) for each in candidates]
        trial.start_encoding()
    except (av.FFmpegError, ValueError) as error:
        with suppress(av.FFmpegError, ValueError):
            trial.close()
        raise _RefusedError(f"does not hold {name}") from error
    try:
        last: dict[int, Fraction] = {}
        for packet in _blank(film, frames):
            trial.mux_one(packet)
        for candidate, stream in zip(candidates, streams, strict=True):
            name = candidate.name
            for packet in _ready(candidate):
                packet.stream = stream
                if mode.rises_in_own_units:
                    in_units_of(packet, stream.time_base)
                enforce_monotonic_dts(packet, last)
                trial.mux_one(packet)
        trial.close()
    except (av.FFmpegError, ValueError) as error:
        with suppress(av.FFmpegError, ValueError):
            trial.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise _RefusedError(f"refuses the packets of {name} ({reason})") from error
    _read_back(file, READERS.get(mode.muxer), candidates, streams)


def _blank(film: VideoStream, count: int) -> Iterator[av.Packet]:
    """Packets of frames of nothing."""
    context = film.codec_context
    for number in range(count):
        frame = av.VideoFrame(context.width, context.height, context.pix_fmt)
        frame.time_base = 1 / context.framerate
        frame.pts = number
        yield from film.encode(frame)
    if count:
        yield from film.encode(None)


def _read_back(
    file: BytesIO, reader: str | None, candidates: list[Candidate], streams: list[Stream]
) -> None:
    """Check that streams are found again as what they are: some muxers write what nobody reads.

    Of sound only that it is sound, for a few packets are too little to be sure of its codec, and
    that it can be decoded where its codec is known.
    """
    file.seek(0)
    found: Counter[str] = Counter()
    with suppress(av.FFmpegError, ValueError), av.open(file, format=reader) as again:
        found.update(map(_kind, again.streams))
        _decode_again(again, candidates)
    if not found:
        return  # too little of a file to be opened
    for candidate, stream in zip(candidates, streams, strict=True):
        if stream.codec_context is None:
            continue  # a code that was asked for by name, as for captions that change their form
        if candidate.packets and not found[_kind(stream)]:
            raise _RefusedError(f"has no code for {candidate.name}")
        found[_kind(stream)] -= 1


def _decode_again(again: InputContainer, candidates: list[Candidate]) -> None:
    """Check that sound decodes as it does in the source: NUT loses the block size of WMA."""
    sounds = [c for c in candidates if isinstance(c.source, AudioStream) and c.packets]
    copies = {s.index: c for s, c in zip(again.streams.audio, sounds, strict=False)}
    if not copies:
        return
    decoded: Counter[int] = Counter()
    for packet in again.demux(*again.streams.audio):
        with suppress(av.FFmpegError):
            decoded[packet.stream_index] += len(packet.decode())
    for index, candidate in copies.items():
        source, copy = candidate.source, again.streams[index]
        if source is None or source.name != copy.name or decoded[index]:
            continue
        if any(_decodes(source, packet) for packet in candidate.packets):
            raise _RefusedError(f"has no place for what a decoder of {candidate.name} needs")


def _decodes(source: Stream, packet: av.Packet) -> bool:
    with suppress(av.FFmpegError):
        return bool(source.codec_context.decode(packet))
    return False


def _kind(stream: Stream) -> str:
    if stream.type != "subtitle" or stream.codec_context is None:
        return str(stream.type)
    return f"subtitle {stream.codec_context.codec.canonical_name}"


def _ready(candidate: Candidate) -> list[av.Packet]:
    """Copies of its packets as they would be written, from 0 on."""
    convert = candidate.new_filter()
    done: list[av.Packet] = []
    times = [p.dts if p.dts is not None else p.pts for p in candidate.packets]
    first = min((time for time in times if time is not None), default=0)
    for packet in map(copy_of, candidate.packets):
        packet.pts = None if packet.pts is None else packet.pts - first
        packet.dts = None if packet.dts is None else packet.dts - first
        with suppress(av.FFmpegError):  # it is damaged, and will be left out
            done += convert(packet)
    return done
