"""Time stamps of packets: units, order as muxers demand it, and a log of the true ones."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor, lcm

from av import Packet
from av.stream import Stream

ABSENT = -(2**63)  # stands for a time stamp that is not there


def stamp(packet: Packet) -> Fraction:
    """When a packet is due, in seconds."""
    ticks = packet.dts if packet.dts is not None else packet.pts
    return Fraction(0) if ticks is None else ticks * packet.time_base


def in_units_of(packet: Packet, base: Fraction) -> None:
    """Count a packet's time stamps and duration in another unit, rounded."""
    for name in ("pts", "dts", "duration"):
        ticks = getattr(packet, name)
        if ticks is not None:
            setattr(packet, name, round(ticks * packet.time_base / base))
    packet.time_base = base


def enforce_monotonic_dts(packet: Packet, last: dict[int, Fraction]) -> None:
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
class TimestampLog:
    """The true time stamps of a stream's packets, in order.

    FFmpeg moves the first packet of a fragment to where it thinks that the one before it ends.
    """

    base: Fraction = Fraction(0)
    pts: array[int] = field(default_factory=lambda: array("q"))
    dts: array[int] = field(default_factory=lambda: array("q"))

    def add(self, packet: Packet) -> None:
        """Log the next packet's time stamps."""
        base = packet.time_base
        self.base = self.base or base
        same = base == self.base
        for own, ticks in ((self.pts, packet.pts), (self.dts, packet.dts)):
            scaled = ticks if same or ticks is None else round(ticks * base / self.base)
            own.append(ABSENT if scaled is None else scaled)

    def restore(self, index: int, packet: Packet) -> None:
        """Give packet number `index` its own time stamps back."""
        if index < len(self.pts):
            in_units_of(packet, self.base)
            packet.pts = None if self.pts[index] == ABSENT else self.pts[index]
            packet.dts = None if self.dts[index] == ABSENT else self.dts[index]
