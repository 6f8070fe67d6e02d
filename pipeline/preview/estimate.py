"""How long a whole film takes and how large it becomes, from a few short runs of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av

from derain.pipeline.video.reader import VideoReader

WARMING = 2  # frames of a run that come before its pace is even
DRAINED = 6  # frames at its end that the network has for itself: all are decoded by then
GROUP = 250  # frames between two key frames, x264's and x265's own choice


@dataclass(slots=True)
class Pace:
    """The frames of the longest of some runs against the clock: shorter ones are less even."""

    frames: int = 0
    seconds: float = 0.0

    def add(self, written: Sequence[float], closed: float) -> None:
        """Look at one more run.

        Args:
            written: clock when each frame was written.
            closed: clock when its file was complete: encoders hold frames back until then.
        """
        counted = len(written) - 1 - WARMING
        if counted >= 4:
            counted -= min(DRAINED, counted // 2)
        if counted > 0 and counted >= self.frames:
            held = (closed - written[-1]) * counted / len(written)
            self.frames = counted
            self.seconds = written[WARMING + counted] - written[WARMING] + held

    @property
    def rate(self) -> float | None:
        """Frames a second; None before a run was long enough."""
        return self.frames / self.seconds if self.seconds > 0 else None


@dataclass(frozen=True, slots=True)
class Packets:
    """Packets of a video stream between two times, in bytes."""

    keys: tuple[int, ...] = ()
    others: tuple[int, ...] = ()

    def __add__(self, more: Packets) -> Packets:
        return Packets(self.keys + more.keys, self.others + more.others)


def video_packets(path: str | Path, start: float = 0, end: float = float("inf")) -> Packets:
    """Sizes of the packets that show frames from `start` to `end`, in seconds of the file.

    Args:
        path: of a film that can be wound.
        start: seconds from the film's first frame.
        end: seconds; infinity is the film's end.
    """
    keys: list[int] = []
    others: list[int] = []
    with VideoReader(path) as reader:
        stream, container = reader.stream, reader.container
        begin = (container.start_time or 0) / av.time_base
        container.seek(int((begin + start) * av.time_base), backward=True)
        for packet in container.demux(stream):
            if not packet.size or packet.pts is None:
                continue
            time = float(packet.pts * packet.time_base) - begin
            if time > end + 1:  # frames are stored out of order by less
                break
            if start <= time < end:
                (keys if packet.is_keyframe else others).append(packet.size)
    return Packets(tuple(keys), tuple(others))


def estimate_size(made: Packets, given: Packets, source_bytes: int, frames: int) -> int:
    """Bytes of the whole result's video.

    The runs are where it rains most, which costs more bits than the rest: the film's own packets
    there, against those of all of it, tell by how much.

    Args:
        made: of the runs' results.
        given: of the same seconds of the source.
        source_bytes: of the source's whole video.
        frames: of the whole film.
    """
    if not made.others or not frames:
        return 0
    key = sum(made.keys) / max(1, len(made.keys))
    other = sum(made.others) / len(made.others)
    groups = max(1, frames / GROUP)
    plain = groups * key + (frames - groups) * other
    if not given.others or not source_bytes:
        return round(plain)
    # Key frames that happen to lie in these seconds would tilt the balance.
    here = sum(given.others) / len(given.others)
    everywhere = source_bytes / frames
    given_keys = sum(given.keys) / len(given.keys) if given.keys else here
    elsewhere = max(0.1 * here, everywhere - (given_keys - here) / GROUP)
    return round(groups * key + (frames - groups) * other * min(2.0, elsewhere / here))
