"""What MP4 wants of time stamps: FFmpeg ends the whole process where a packet has others.

A packet in a fragment may not say that it lasts longer than to the next one, and two packets may
lie no more than 2**31 ticks apart.
"""

from __future__ import annotations

from fractions import Fraction

import av

from derain.models.log import Log
from derain.pipeline.video.timestamps import stamp

MOST_TICKS = 2**31 - 1
FINEST = 192_000  # ticks a second of a stream, at most: FFmpeg counts sound in samples
LEFT = 60  # seconds of a hole that is closed: more than frames are stored out of order


class FragmentTimes:
    """Packets on their way into fragments: each waits for the next one of its stream.

    Args:
        suffix: of the container, for the sentence.
        notice: told where a hole is too long.
    """

    def __init__(self, suffix: str, notice: Log) -> None:
        self.suffix, self.notice = suffix, notice
        self._newest: dict[int, tuple[av.Packet, bool]] = {}  # by stream, not written yet
        self._ends: dict[int, Fraction] = {}  # where each stream has come to, as the source has it
        self._holes: list[tuple[Fraction, Fraction]] = []  # the middle of each, and what is closed

    def push(self, packet: av.Packet, log: bool) -> tuple[av.Packet, bool] | None:
        """Take a packet, and a mark; the one before it of its stream, ready, with its own mark."""
        self._see(packet)
        self.close_holes(packet)
        before = self._newest.get(packet.stream.index)
        self._newest[packet.stream.index] = (packet, log)
        if before is not None:
            shorten(before[0], packet)
        return before

    def flush(self) -> list[tuple[av.Packet, bool]]:
        """The newest packets of all streams, in the order of time."""
        rest = sorted(self._newest.values(), key=lambda newest: stamp(newest[0]))
        self._newest.clear()
        return rest

    def close_holes(self, packet: av.Packet) -> None:
        """Move a packet back by the holes before it, in place."""
        if packet.time_base:
            packet.dts = self._moved(packet.dts, packet.time_base)
            packet.pts = self._moved(packet.pts, packet.time_base)

    def _moved(self, ticks: int | None, base: Fraction) -> int | None:
        if ticks is None or not self._holes:
            return ticks
        return ticks - sum(
            round(closed / base) for middle, closed in self._holes if middle < ticks * base
        )

    def _see(self, packet: av.Packet) -> None:
        """Note a hole before a packet that is longer than the container can say.

        Where frames are stored out of order, the first behind a hole may be decoded before it.
        """
        base, index = packet.time_base, packet.stream.index
        if not base:
            return
        for ticks in (packet.dts, packet.pts):
            if ticks is None:
                continue
            now = ticks * base
            before = self._ends.get(index, now)
            self._ends[index] = max(before, now)
            if now - before > MOST_TICKS * min(base, Fraction(1, FINEST)):
                self._note(before, now)

    def _note(self, before: Fraction, now: Fraction) -> None:
        if any(before < middle < now for middle, _ in self._holes):
            return
        self._holes.append(((before + now) / 2, now - before - LEFT))
        self.notice(
            f"Time stamps leap from {float(before):.2f} to {float(now):.2f} s, further than "
            f"{self.suffix} can say: all streams go on after {LEFT} s; .mkv keeps the hole."
        )


def shorten(packet: av.Packet, following: av.Packet) -> None:
    """Let a packet last no longer than to the next of its stream, as far as they tell."""
    if packet.dts is None or following.dts is None or not packet.time_base:
        return
    step = round(following.dts * following.time_base / packet.time_base) - packet.dts
    packet.duration = min(packet.duration or 0, max(1, step))
