"""Trying streams in the container that will be written, before any work is done.

Many muxers refuse a stream with the header or with its first packet alone, and some only beside
other streams. So each mode of writing is tried in memory: all streams at once, and one by one where
that fails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO

import av
from av.container import OutputContainer
from av.stream import Stream

from derain.pipeline.video.demuxing import copy_of
from derain.pipeline.video.timestamps import enforce_monotonic_dts, in_units_of

Filter = Callable[[av.Packet], list[av.Packet]]
NewStream = Callable[[OutputContainer], Stream]

# What FFmpeg calls the readers of what is too short to be known by itself.
READERS = {"mpegts": "mpegts", "mpeg": "mpeg", "vob": "mpeg", "svcd": "mpeg", "dvd": "mpeg"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stream that may go into the output."""

    name: str  # of its codec, for the sentence
    add: NewStream
    new_filter: Callable[[], Filter]
    packets: list[av.Packet]  # the first of the source
    late: bool = False  # goes into the final file, not into the part


@dataclass(frozen=True, slots=True)
class Mode:
    """One way in which the output will be written."""

    muxer: str  # FFmpeg's name
    options: Mapping[str, str]
    takes_late: bool
    stamps_in_blocks: bool = False


def refusals(
    candidates: list[Candidate], modes: list[Mode], new_video: NewStream
) -> dict[int, str]:
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


def _reason(candidates: list[Candidate], modes: Iterable[Mode], new_video: NewStream) -> str | None:
    """Why a file of the film and these, the last of which is new, cannot be; None if it can."""
    for mode in modes:
        chosen = [each for each in candidates if mode.takes_late or not each.late]
        try:
            _write(chosen, mode, new_video)
        except _RefusedError as error:
            return str(error)
    return None


class _RefusedError(Exception):
    """A muxer said no."""


def _write(candidates: list[Candidate], mode: Mode, new_video: NewStream) -> None:
    file = BytesIO()
    trial = av.open(file, "w", format=mode.muxer, container_options=dict(mode.options))
    name = candidates[-1].name if candidates else "the film"
    try:
        new_video(trial)
        streams = [each.add(trial) for each in candidates]
        trial.start_encoding()
    except (av.FFmpegError, ValueError) as error:
        with suppress(av.FFmpegError, ValueError):
            trial.close()
        raise _RefusedError(f"does not hold {name}") from error
    try:
        last: dict[int, Fraction] = {}
        for candidate, stream in zip(candidates, streams, strict=True):
            name = candidate.name
            for packet in _ready(candidate):
                packet.stream = stream
                if mode.stamps_in_blocks:
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


def _read_back(
    file: BytesIO, reader: str | None, candidates: list[Candidate], streams: list[Stream]
) -> None:
    """Check that streams are found again as what they are: some muxers write what nobody reads.

    Of sound only that it is sound: a few packets are too little to be sure of its codec.
    """
    file.seek(0)
    found: Counter[str] = Counter()
    with suppress(av.FFmpegError, ValueError), av.open(file, format=reader) as again:
        found.update(map(_kind, again.streams))
    if not found:
        return  # too little of a file to be opened
    for candidate, stream in zip(candidates, streams, strict=True):
        if stream.codec_context is None:
            continue  # a code that was asked for by name, as for captions that change their form
        if candidate.packets and not found[_kind(stream)]:
            raise _RefusedError(f"has no code for {candidate.name}")
        found[_kind(stream)] -= 1


def _kind(stream: Stream) -> str:
    if stream.type != "subtitle" or stream.codec_context is None:
        return str(stream.type)
    return f"subtitle {stream.codec_context.codec.canonical_name}"


def _ready(candidate: Candidate) -> list[av.Packet]:
    """Copies of its packets as they would be written, from 0 on."""
    convert, done = candidate.new_filter(), []
    times = [p.dts if p.dts is not None else p.pts for p in candidate.packets]
    first = min((time for time in times if time is not None), default=0)
    for packet in map(copy_of, candidate.packets):
        packet.pts = None if packet.pts is None else packet.pts - first
        packet.dts = None if packet.dts is None else packet.dts - first
        done += convert(packet)
    return done
