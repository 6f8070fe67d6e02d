"""Sources whose first time stamp says nothing of the film: broadcasts, recorders, live streams.

Their clock runs since whenever it was started. Files that play from 0 would begin with hours of
nothing, so all streams are moved alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import av
from av.stream import Stream

from derain.pipeline.video.frames import Frame

# FFmpeg's names of what sends or records by a clock of its own.
RUNNING = {"mpegts", "mpegtsraw", "mpeg", "flv", "live_flv", "rtsp", "rtp", "sdp", "hls", "mpjpeg"}
RUNNING |= {"video4linux2", "v4l2", "avfoundation", "dshow", "gdigrab", "x11grab", "alsa", "pulse"}
UNNOTICED = Fraction(1, 10)  # seconds that all may be moved without a word
STREAMED = ("rtsp", "rtmp", "rtp", "udp", "srt", "tcp")  # beginnings of addresses


def runs_since_before(format_name: str, source: str) -> bool:
    """Whether a source's time stamps come from a clock that ran before the film.

    Args:
        format_name: FFmpeg's, of the container that is read; several names with commas.
        source: the path or address.
    """
    return bool(RUNNING & set(format_name.split(","))) or source.startswith(STREAMED)


def first_time(streams: Iterable[Stream], items: Iterable[Frame | av.Packet]) -> Fraction:
    """When the first frame or sound is due, in seconds.

    Args:
        streams: of the source, with the start times that FFmpeg found.
        items: the first of what was read: sources may say nothing, or start before they say.
    """
    times = [
        stream.start_time * stream.time_base
        for stream in streams
        if stream.type in ("video", "audio") and stream.start_time is not None
    ]
    frames = [item.pts * item.time_base for item in items if isinstance(item, Frame)]
    return min([*times, *frames], default=Fraction(0))


def move(item: Frame | av.Packet, seconds: Fraction) -> None:
    """Let a frame or packet be due so many seconds earlier, in place."""
    if item.time_base is None:
        return
    ticks = round(seconds / item.time_base)
    if item.pts is not None:
        item.pts -= ticks
    if isinstance(item, av.Packet) and item.dts is not None:
        item.dts -= ticks


def clock_text(seconds: Fraction) -> str:
    """A time of a clock, for sentences: 6:22:33.040."""
    whole = abs(float(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{'-' if seconds < 0 else ''}{hours}:{minutes:02d}:{rest:06.3f}"
