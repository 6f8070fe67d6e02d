"""Time stamps: mending those that files have wrong, and those of packets as muxers demand them.

Wrong are jumps, orders of decoding, and durations that are not kept.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor, lcm

import av
from av.stream import Stream
from av.video.stream import VideoStream

from derain.models.log import Log

LATE = 1  # seconds by which time stamps must fall back to count as a jump of the whole file
STRAY = 10  # seconds that streams of a file may lie apart where it jumps
ABSENT = -(2**63)  # stands for a time stamp that is not there
REORDERED = 16  # frames by which the standards let a decoder change the order


class AviTimestampFixer:
    """Even time stamps for the frames of an AVI, which stores an order of decoding only.

    FFmpeg's guess at the times of H.264's B-frames jumps to and fro. Frames come out of a decoder
    one for one, in the order to show them: each gets the time of a packet, the first one the first.
    """

    def __init__(self, stream: VideoStream) -> None:
        self.stream = stream
        self.times: deque[int] = deque()  # of packets whose frame is not yet out

    def begin(self, packet: av.Packet) -> None:
        """See a packet before it is decoded."""
        if packet.size and packet.dts is not None:
            self.times.append(packet.dts)

    def place(self, frames: list[av.VideoFrame]) -> list[av.VideoFrame]:
        """Stamp frames, in place."""
        for frame in frames:
            if frame.dts is not None:
                # A decoder holds back so many at most: what is older was damaged and gave none.
                held = self.stream.codec_context.reorder_depth + 1
                fed = sum(time <= frame.dts for time in self.times)
                for _ in range(fed - held):
                    self.times.popleft()
            if self.times:
                frame.pts = self.times.popleft()
        return frames

    def flush(self) -> list[av.VideoFrame]:
        """Nothing is held back."""
        return []


class DisplayOrderFixer:
    """Rising time stamps for a stream that stores those of decoding as those of showing.

    VC-1 and some FLV do: B-frames then leave the decoder with times that fall. Such a stream is
    known by packets whose times never fall although its decoder changes the order. Its frames are
    held back while an earlier time is still to come, and get their times in rising order.
    """

    def __init__(self, stream: VideoStream) -> None:
        self.stream = stream
        self.times: deque[int] = deque()  # of packets whose frame is not yet out, rising
        self.held: list[av.VideoFrame] = []
        self.sound = False  # times fall from packet to packet, as they should with B-frames

    def begin(self, packet: av.Packet) -> None:
        """See a packet before it is decoded."""
        if self.sound or not packet.size or packet.pts is None:
            return
        if self.times and packet.pts < self.times[-1]:
            self.sound = True
            self.times.clear()
        else:
            self.times.append(packet.pts)

    def place(self, frames: list[av.VideoFrame]) -> list[av.VideoFrame]:
        """Stamp frames, in place; those that can be shown now."""
        if self.sound and not self.held:
            return frames
        done = []
        for frame in frames:
            done += self._place(frame)
        return done

    def _place(self, frame: av.VideoFrame) -> list[av.VideoFrame]:
        self.held.append(frame)
        times = [each.pts for each in self.held]
        if None in times:
            return self._release()
        if frame.pts in self.times:
            self.times.remove(frame.pts)
        latest = max(times)
        waits = bool(self.times) and self.times[0] < latest
        reorders = self.stream.codec_context.reorder_depth > 0
        if waits and reorders and not self.sound and len(self.held) <= REORDERED:
            return []
        while self.times and self.times[0] < latest:
            self.times.popleft()  # a damaged packet: it gave no frame
        return self.flush()

    def flush(self) -> list[av.VideoFrame]:
        """The frames held back, with their times in rising order."""
        if all(frame.pts is not None for frame in self.held):
            times = sorted(frame.pts for frame in self.held)
            for frame, time in zip(self.held, times, strict=True):
                frame.pts = time
        return self._release()

    def _release(self) -> list[av.VideoFrame]:
        done, self.held = self.held, []
        return done


@dataclass(slots=True)
class StreamClock:
    """How far one stream's time stamps have come, in its own ticks."""

    base: Fraction
    late: int  # LATE in ticks
    shift: int  # what is added
    last: int  # the furthest time stamp
    length: int = 0  # how long the packet of that stays

    @property
    def end(self) -> Fraction:
        """Where it has come to, in seconds."""
        return (self.last + self.length) * self.base

    def advance(self, dts: int, duration: int) -> None:
        """See a packet at its place.

        A declared duration may be far longer than the step to the next packet (slow motion, cameras
        that record when something moves): it tells nothing of where the next one lies.
        """
        if dts > self.last:
            self.length = min(duration, dts - self.last)
            self.last = dts
        else:
            self.length = self.length or duration


class Timeline:
    """Time stamps that jump back (joined recordings, a wrapped counter) go on where they were.

    Gaps are left as they are. All streams are moved alike, so that they stay in step.
    """

    def __init__(self, notice: Log) -> None:
        self.shift = Fraction(0)  # seconds, of the newest jump, for streams that jump after it
        self.clocks: dict[int, StreamClock] = {}
        self.notice = notice

    def place(self, packet: av.Packet) -> None:
        """Move a packet to its place, in place."""
        if packet.dts is None:
            return
        clock = self.clocks.get(packet.stream_index)
        if clock is None:
            base = packet.time_base
            shift = round(self.shift / base)
            clock = StreamClock(base, round(LATE / base), shift, packet.dts + shift)
            self.clocks[packet.stream_index] = clock
        # Whole numbers as far as possible: this is done for each packet.
        if packet.dts + clock.shift < clock.last - clock.late:
            clock.shift = self._close(clock, packet.dts)
        if clock.shift:
            packet.dts += clock.shift
            if packet.pts is not None:
                packet.pts += clock.shift
        # A caption may be meant to stay for long.
        clock.advance(packet.dts, 0 if packet.stream.type == "subtitle" else packet.duration or 0)

    def _close(self, clock: StreamClock, dts: int) -> int:
        """The shift, in ticks, of a stream that jumps back to `dts`."""
        own = dts * clock.base
        if not -LATE <= own + self.shift - clock.end <= STRAY:
            # The first stream that jumps; behind all others, so that none must go back.
            last = max(clock.end for clock in self.clocks.values())
            self.shift = last - own
            self.notice(f"Time stamps jump back at {float(last):.2f} s; they go on from there.")
        return round(self.shift / clock.base)


def stamp(packet: av.Packet) -> Fraction:
    """When a packet is due, in seconds."""
    ticks = packet.dts if packet.dts is not None else packet.pts
    return Fraction(0) if ticks is None else ticks * packet.time_base


def in_units_of(packet: av.Packet, base: Fraction) -> None:
    """Count a packet's time stamps and duration in another unit, rounded."""
    for name in ("pts", "dts", "duration"):
        ticks = getattr(packet, name)
        if ticks is not None:
            setattr(packet, name, round(ticks * packet.time_base / base))
    packet.time_base = base


def enforce_monotonic_dts(packet: av.Packet, last: dict[int, Fraction]) -> None:
    """Make decode times rise, as muxers demand; `last` has each stream's last one in seconds."""
    index, base = packet.stream.index, packet.time_base
    if packet.dts is None or not base:
        return
    now = packet.dts * base
    if index in last and now <= last[index]:
        packet.dts = floor(last[index] / base) + 1
        packet.pts = packet.dts if packet.pts is None else max(packet.pts, packet.dts)
        now = packet.dts * base
    last[index] = now


def exact_timescale(streams: Iterable[Stream]) -> str:
    """A unit for edit lists in which all streams' start times are whole numbers.

    FFmpeg's is a millisecond, which would move streams against each other.
    """
    bases = []
    for stream in streams:
        bases += [stream.time_base] if stream.time_base else []
        rate = stream.type == "audio" and stream.codec_context and stream.codec_context.sample_rate
        bases += [Fraction(1, rate)] if rate else []
    exact = lcm(*[base.denominator for base in bases])
    return str(exact if exact < 2**31 else max(base.denominator for base in bases))


@dataclass(slots=True)
class FrameNumbers:
    """Numbers for frames where a container or a codec counts them and has no finer time."""

    rate: Fraction
    leaps: bool  # whether numbers may be left out, or all frames are shown equally long
    least: int = 1  # numbers from one frame to the next
    count: int = 0  # that the next frame has at least
    first: Fraction | None = None  # seconds
    farthest: Fraction = Fraction(0)  # seconds that a frame is off its own time

    @property
    def step(self) -> Fraction:
        """Seconds that each frame is shown."""
        return 1 / self.rate

    def place(self, shown: Fraction) -> int:
        """The number of the next frame, which is due at `shown` seconds."""
        if self.first is None:
            self.first = shown
            self.count = round(shown / self.step) if self.leaps else 0
            self.first -= self.count * self.step
        due = (shown - self.first) / self.step
        number = max(self.count, round(due)) if self.leaps else self.count
        self.farthest = max(self.farthest, abs(due - number) * self.step)
        self.count = number + self.least
        return number


@dataclass(slots=True)
class TimestampLog:
    """The true time stamps of a stream's packets, in order.

    FFmpeg moves the first packet of a fragment to where it thinks that the one before it ends.
    """

    base: Fraction = Fraction(0)
    pts: array[int] = field(default_factory=lambda: array("q"))
    dts: array[int] = field(default_factory=lambda: array("q"))

    def add(self, packet: av.Packet) -> None:
        """Log the next packet's time stamps."""
        base = packet.time_base
        self.base = self.base or base
        same = base == self.base
        for own, ticks in ((self.pts, packet.pts), (self.dts, packet.dts)):
            scaled = ticks if same or ticks is None else round(ticks * base / self.base)
            own.append(ABSENT if scaled is None else scaled)

    def forget_last(self) -> None:
        """The packet that was logged last is not written."""
        self.pts.pop()
        self.dts.pop()

    def restore(self, index: int, packet: av.Packet) -> None:
        """Give packet number `index` its own time stamps back."""
        if index < len(self.pts):
            in_units_of(packet, self.base)
            packet.pts = None if self.pts[index] == ABSENT else self.pts[index]
            packet.dts = None if self.dts[index] == ABSENT else self.dts[index]
