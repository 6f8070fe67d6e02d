"""Whether a source gave all that it declares: films that were cut off play without a word."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
from av.stream import Stream

from derain.pipeline.video.demuxing import PacketReader

# Containers whose header has the film's duration; others' is found by looking at their end.
DECLARED_BY_FILE = {"matroska", "flv", "asf"}
DECLARED_BY_STREAM = {"mov", "avi", "mxf"}
PACKETS = (188, 192, 204)  # bytes of a transport stream's packets, whatever lies between them
SYNC = 0x47
TOLERANCE = Fraction(1, 4)  # seconds; headers round, and streams end apart


def missing(packets: PacketReader, film: Stream, declared_frames: int) -> str:
    """What a source that was read to its end lacks, as a sentence; empty where nothing.

    Args:
        packets: what was read.
        film: the stream of the film.
        declared_frames: as the file's own index counts them; 0 where it has none.
    """
    if packets.broken:
        return packets.broken
    name, formats = packets.name, set(packets.container.format.name.split(","))
    if formats & {"mpegts"} and ends_inside_packet(name):
        return f"{name} ends inside a packet: it was cut off, and what followed is missing."
    if formats & {"gif"} and not has_trailer(name):
        return f"{name} has no end: it was cut off, and what followed is missing."
    ends = packets.end_of(film)
    came = packets.counts.get(film.index, 0)
    lost = declared_frames - came
    if formats & DECLARED_BY_STREAM and lost > max(1, declared_frames // 100):
        return f"{name} declares {declared_frames} frames and holds {came}; the others are missing."
    declared, reached = Fraction(0), ends or Fraction(0)
    if formats & DECLARED_BY_FILE and packets.container.duration:
        declared = Fraction(packets.container.duration, av.time_base)
        reached = _furthest(packets, packets.container.streams)
        begins = Fraction(packets.container.start_time or 0, av.time_base)
        if declared < begins:  # it is a length, not the time of the end
            declared += begins
    elif formats & {"avi"}:  # FFmpeg shortens the duration of what is cut off, not this
        declared = film.frames * film.time_base
    elif formats & DECLARED_BY_STREAM and film.duration:
        declared = (film.duration + (film.start_time or 0)) * film.time_base
    if declared <= 0:
        return ""  # nobody knows: what ends below 0 is a clock that ran over
    if declared - reached <= max(TOLERANCE, declared / 500) or _is_estimate(packets):
        return ""
    return (
        f"{name} declares {float(declared):.2f} s and ends at {float(reached):.2f} s; "
        "the rest is missing."
    )


def ends_inside_packet(name: str) -> bool:
    """Whether a transport stream's file has a part of a packet at its end."""
    path = Path(name)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(16 * max(PACKETS))
    for size in PACKETS:
        for start in range(size):
            if len(head) >= start + 8 * size and set(head[start : start + 8 * size : size]) == {
                SYNC
            }:
                before = 4 if size == 192 else 0  # a time stamp stands before each packet
                return (os.path.getsize(name) - start + before) % size != 0
    return False


def has_trailer(name: str) -> bool:
    """Whether a GIF has the mark of its end; some writers fill up with zeros behind it."""
    path = Path(name)
    if not path.is_file():
        return True
    with path.open("rb") as file:
        file.seek(max(0, os.path.getsize(path) - 1024))
        return file.read().rstrip(b"\0").endswith(b";")


def _furthest(packets: PacketReader, streams: Iterable[Stream]) -> Fraction:
    ends = [end for stream in streams if (end := packets.end_of(stream)) is not None]
    return max(ends, default=Fraction(0))


def _is_estimate(packets: PacketReader) -> bool:
    """Whether FFmpeg took the duration from size and bit rate, as where no header has it."""
    container = packets.container
    rates = [getattr(s.codec_context, "bit_rate", None) for s in container.streams]
    total = sum(rate for rate in rates if rate)
    if not total or not container.duration or container.size <= 0:
        return False
    estimated = container.size * 8 / total
    return abs(estimated - container.duration / av.time_base) < 0.01 * estimated
